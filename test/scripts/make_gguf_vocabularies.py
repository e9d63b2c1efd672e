#!/usr/bin/env python3
"""Writes test/data/gguf/vocabularies: small GGUF files that hold a vocabulary
and nothing else, stored as llama.cpp's converter stores them, and the ids that
Hugging Face's tokenizers gives with the same vocabulary (cases.json).

Needs numpy, gguf and tokenizers (PyPI). Usage: make_gguf_vocabularies.py test/data/gguf/vocabularies
"""
import json
import pathlib
import sys

import numpy as np
from gguf import GGUFWriter, TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

MARK = "\u2581"

TEXTS = [
    "",
    " ",
    "Hello, world!",
    "It's 12345 caf\u00e9s,  and\n\nMORE (x)==y",
    "  two leading spaces and trailing  ",
    "tabs\tand\r\nline ends\n\n\n",
    "I'LL we'Re you'd don't",
    "3.14159 1234567 7 2024-11-21",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440 \uc548\ub155\ud558\uc138\uc694",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 emoji \u2764\ufe0f",
    "na\u00efve Z\u00fcrich \u00c5ngstr\u00f6m e\u0301 \u212b \ufb01n",
    "snake_case camelCase HTTPServer kebab-case",
    "f(x) = {a: [1, 2], \"b\": 'c'};\n\treturn x;",
    "the quick brown fox jumps over the lazy dog " * 3,
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0e44\u0e17\u0e22",
    "a\u00a0b\u2003c\u3000d",
    "....!!!???///\\\\\\",
    "[CLS] not a token? <s> <pad>",
]

CORPUS = [text for text in TEXTS if text] * 4 + [
    "The quick brown fox jumps over the lazy dog, and the other dogs jump over it.",
    "An import reads what a model says about itself; the tokenizer turns text into ids.",
    "return the sum of all the numbers in the list and print them one by one",
]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CASES = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s")
CASES_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
HAN = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


# The pre-tokenizers of published tokenizer.json files.
PUBLISHED = {
    "gpt-2": [split(GPT2)],
    "llama-bpe": [split(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL)],
    "qwen2": [split(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL)],
    "qwen35": [split(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
                     r"|\s*[\r\n]+|\s+(?!\S)|\s+")],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), split(GPT2)],
    "starcoder": [pre_tokenizers.Digits(individual_digits=True), split(GPT2)],
    "falcon": [pre_tokenizers.Punctuation("contiguous"), split(GPT2), split("[0-9][0-9][0-9]")],
    "deepseek-coder": [split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"),
                       split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"),
                       pre_tokenizers.Digits(individual_digits=True)],
    "deepseek-v3": [split(r"\p{N}{1,3}"), split(HAN),
                    split(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
                          r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")],
    "tekken": [split(CASES % ("", "") + r"|\p{N}" + CASES_TAIL)],
    "gpt-4o": [split(CASES % (CONTRACTIONS + "?", CONTRACTIONS + "?") + r"|\p{N}{1,3}" + CASES_TAIL)],
    "bailingmoe": [split(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
                         r"|\s*[\r\n]|\s+(?!\S)|\s+")],
    "seed-coder": [split(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+"
                         r"|\s*[\r\n]+|\s+(?!\S)|\s+")],
    "bloom": [split(" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+")],
    "tiny_aya": [split(r"\d{1,3}(?=(?:\d{3})*\b)"),
                 split(CASES % (CONTRACTIONS + "?", CONTRACTIONS + "?") + r"|\p{N}{1,3}" + CASES_TAIL)],
}
IGNORES_MERGES = {"llama-bpe", "tekken"}
COMPOSES = {"qwen2", "qwen35"}


def byte_level():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def merges_of(tokenizer):
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [" ".join(merge) for merge in merges]


def tokens_of(tokenizer):
    return [tokenizer.id_to_token(id) for id in range(tokenizer.get_vocab_size())]


def write(path, model, tokens, types, scores=None, merges=None, **keys):
    writer = GGUFWriter(str(path), "llama")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if scores is not None:
        writer.add_token_scores(scores)
    if merges is not None:
        writer.add_token_merges(merges)
    for key, value in keys.items():
        getattr(writer, "add_" + key)(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def types_of(tokens, control, user_defined=()):
    return [TokenType.CONTROL if token in control else
            TokenType.USER_DEFINED if token in user_defined else
            TokenType.BYTE if token.startswith("<0x") else TokenType.NORMAL for token in tokens]


def cases_of(tokenizer):
    return [{"text": text, "ids": tokenizer.encode(text).ids} for text in TEXTS]


def make_bytes(out, cases):
    """One byte-level vocabulary whose merges cross every border, for all of tokenizer.ggml.pre."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # Joined by each kind of border, so that a wrong split shows.
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=sorted(alphabet), max_token_length=6, special_tokens=["<|end|>"]))
    tokens = tokens_of(tokenizer)
    write(out / "gpt2.gguf", "gpt2", tokens, types_of(tokens, {"<|end|>"}), merges=merges_of(tokenizer),
          tokenizer_pre="gpt-2", bos_token_id=0, eos_token_id=0)
    model = json.loads(tokenizer.to_str())
    for name, steps in PUBLISHED.items():
        model["model"]["ignore_merges"] = name in IGNORES_MERGES
        published = Tokenizer.from_str(json.dumps(model))
        published.pre_tokenizer = pre_tokenizers.Sequence(steps + [byte_level()])
        if name in COMPOSES:
            published.normalizer = normalizers.NFC()
        cases["pre:" + name] = cases_of(published)


def make_bert(out, cases):
    for name, lowercase in (("bert", True), ("bert-cased", False)):
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        tokenizer.train_from_iterator(CORPUS[:-9], trainers.WordPieceTrainer(
            vocab_size=300, special_tokens=special))
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
        cases[name] = cases_of(tokenizer)
        tokens = tokens_of(tokenizer)

        def phantom(token):
            if token.startswith("[") and token.endswith("]"):
                return token
            return token[2:] if token.startswith("##") else MARK + token

        keys = dict(unk_token_id=1, sep_token_id=3, pad_token_id=0, mask_token_id=4, bos_token_id=2)
        path = out / (name + ".gguf")
        writer = GGUFWriter(str(path), "bert")
        writer.add_tokenizer_model("bert")
        writer.add_token_list([phantom(token) for token in tokens])
        writer.add_token_types(types_of(tokens, set(special)))
        for key, value in keys.items():
            getattr(writer, "add_" + key)(value)
        if not lowercase:
            writer.add_bool("tokenizer.ggml.normalizer.lowercase", False)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def make_unigram(out, cases, charsmap):
    """T5's and XLM-RoBERTa's kind."""
    for name, prefix in (("t5", ["<pad>", "</s>", "<unk>"]), ("xlm-roberta", ["<s>", "<pad>", "</s>", "<unk>"])):
        tokenizer = Tokenizer(models.Unigram())
        steps = [normalizers.Precompiled(charsmap)] if charsmap else []
        tokenizer.normalizer = normalizers.Sequence(steps + [
            normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="always")
        tokenizer.train_from_iterator(CORPUS[:-6], trainers.UnigramTrainer(
            vocab_size=320, special_tokens=prefix, unk_token="<unk>"))
        end = prefix.index("</s>")
        if name == "t5":
            tokenizer.post_processor = processors.TemplateProcessing(
                single="$A </s>", special_tokens=[("</s>", end)])
        else:
            tokenizer.post_processor = processors.TemplateProcessing(
                single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", end)])
        # Scores are stored as f32; both sides see the same.
        model = json.loads(tokenizer.to_str())
        model["model"]["vocab"] = [[token, float(np.float32(score))] for token, score in model["model"]["vocab"]]
        tokenizer = Tokenizer.from_str(json.dumps(model))
        cases[name] = cases_of(tokenizer)
        vocabulary = model["model"]["vocab"]
        tokens = [token for token, _ in vocabulary]
        keys = dict(unk_token_id=prefix.index("<unk>"), eos_token_id=end, pad_token_id=prefix.index("<pad>"),
                    add_space_prefix=True, remove_extra_whitespaces=True)
        if charsmap:
            keys["precompiled_charsmap"] = charsmap
        if name != "t5":
            keys.update(bos_token_id=0, add_bos_token=True, add_eos_token=True, sep_token_id=end)
        types = types_of(tokens, set(prefix) - {"<unk>"})
        types[prefix.index("<unk>")] = TokenType.UNKNOWN
        write(out / (name + ".gguf"), "t5", tokens, types, scores=[score for _, score in vocabulary], **keys)


def make_characters(out, cases):
    """Gemma's (SentencePiece, no space before the text) and Gemma 4's (its merges in the file)."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    byte_tokens = ["<0x%02X>" % byte for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", MARK)
    tokenizer.train_from_iterator([text for text in CORPUS if "\n" not in text], trainers.BpeTrainer(
        vocab_size=700, special_tokens=special + byte_tokens, max_token_length=8, limit_alphabet=120))
    root = json.loads(tokenizer.to_str())
    root["added_tokens"] = [token for token in root["added_tokens"] if token["content"] in special]
    root["post_processor"] = json.loads(json.dumps({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                 {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}}}))
    # A score for each token: the rank of the first merge that makes it. Merges as
    # SentencePiece derives them from the scores.
    vocabulary = root["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.get)
    scores = {token: -1e6 for token in tokens}
    for rank, (left, right) in enumerate(root["model"]["merges"]):
        scores[left + right] = max(scores[left + right], -1.0 - rank)
    derived = []
    for token in tokens:
        for at in range(1, len(token)):
            left, right = token[:at], token[at:]
            if left in vocabulary and right in vocabulary and token not in special + byte_tokens:
                derived.append((-scores[token], -len(left), -len(right), [left, right]))
    root["model"]["merges"] = [merge for *_, merge in sorted(derived, key=lambda entry: entry[:3])]
    gemma = Tokenizer.from_str(json.dumps(root))
    cases["gemma"] = cases_of(gemma)
    cases["gemma4"] = cases_of(gemma)
    types = types_of(tokens, set(special) - {"<unk>"})
    types[3] = TokenType.UNKNOWN
    ids = dict(bos_token_id=2, eos_token_id=1, unk_token_id=3, pad_token_id=0, add_bos_token=True)
    write(out / "gemma.gguf", "llama", tokens, types, scores=[scores[token] for token in tokens],
          add_space_prefix=False, **ids)
    write(out / "gemma4.gguf", "gemma4", tokens, types,
          merges=[" ".join(merge) for merge in root["model"]["merges"]], **ids)


def charsmap_of(pairs):
    """SentencePiece's precompiled normalisation: a trie of the keys as a double
    array (darts-clone's units), and the replacements, each ended by a zero."""
    texts, offsets = b"", {}
    for key, value in sorted(pairs.items()):
        offsets[key.encode()] = len(texts)
        texts += value.encode() + b"\0"
    # Children of each state; a key's end is child 0 with the value.
    trie = {}
    for key, offset in offsets.items():
        node = trie
        for byte in key:
            node = node.setdefault(byte, {})
        node[0] = offset
    units, used = [0] * 1024, {0}

    def place(node, at):
        labels = sorted(node)
        base = next(base for base in range(1, 512)
                    if all((base ^ label) not in used and (base ^ label) < 1024 for label in labels)
                    and base not in bases)
        bases.add(base)
        used.update(base ^ label for label in labels)
        units[at] |= (at ^ base) << 10 | (1 << 8 if 0 in node else 0)
        for label in labels:
            if label == 0:
                units[base] = node[0] | 1 << 31
            else:
                units[base ^ label] |= label
                place(node[label], base ^ label)

    bases = set()
    place(trie, 0)
    blob = b"".join(unit.to_bytes(4, "little") for unit in units)
    return len(blob).to_bytes(4, "little") + blob + texts


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    cases = {}
    make_bytes(out, cases)
    make_bert(out, cases)
    make_unigram(out, cases, charsmap_of({"\ufb01": "fi", "\u212b": "\u00c5", "\t": " ", "\r": "", "\n": " ",
                                          "\u00a0": " ", "\u3000": " ", "e\u0301": "\u00e9", "\uff0c": ","}))
    make_characters(out, cases)
    (out / "cases.json").write_text(json.dumps(cases, ensure_ascii=True, separators=(",", ":")) + "\n")


main()
