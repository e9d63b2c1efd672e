#!/usr/bin/env python3
"""Writes the small tokenizers below test/data/tokenizers and what Hugging Face's library does with them.

usage: make-tokenizer-cases.py

Trains tokenizers of every kind on made-up text. Each folder gets a tokenizer.json and a cases.json: texts, their ids
(with type ids, with and without special tokens), pairs of texts, and decoded texts. steps.json has single normalizers,
pre-tokenizers and decoders with what they give. Needs the package tokenizers; everything random has a seed.
"""
import json
import pathlib
import random
import struct
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "tokenizers"
WORDS = """the of and to in is that it was for on are as with his they at be this have from or one had by word but not
what all were we when your can said there use an each which she do how their if will up other about out many then them
these so some her would make like him into time has look two more write go see number no way could people my than first
water been call who oil its now find long down day did get come made may part tokenization compiler kernel quick brown
jumping lazily don't I'll we've it's naïve café Straße über señor garçon Привет мир как дела спасибо большое Ελληνικά
γλώσσα 你好 世界 我们 今天 天气 很好 こんにちは カタカナ ひらがな 안녕하세요 세계 مرحبا بالعالم नमस्ते दुनिया สวัสดี
שלום עולם 1234 3.14 2026 x=1; f(x) a_b {} [] () -> == != // # \U0001F600 \U0001F44D\U0001F3FD""".split()
TEXTS = [
    "Hello, world!", " leading", "trailing ", "  two  spaces   three", "line\nbreak\n\nblank\r\ncrlf", "\ttab\t\tindent",
    "don't I'LL we've it's they'RE", "naïve café Straße İstanbul", "e\u0301\u0327 A\u030a \u212b \ufb01 ½ ①", "你好，世界！今天天气很好。",
    "こんにちは カタカナ ー ガ", "안녕하세요 \u1100\u1161\u11a8", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดี", "Ελληνικά γλώσσα ς",
    "\U0001F600\U0001F3FD\u200d\U0001F4BB \U0001F1E9\U0001F1EA", "x = f(y)[3] + 0x1F; // comment", "1234567 3.14159", "\x00\x01\x7f\x85\xad\ufeff\ufffd",
    "\u2028\u2029\u3000\u00a0\u200b", "a<mask>b <mask>  c", "  <x> y<x>", "[MASK]x [MASK] [UNK]", "</s><s><unk><pad>", "keep KEEP Keep keeper",
    "", " ", "\n", "a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "<0x41>\u2581\u2581a\u0120b##c",
]


def make_text(rng, noise=3):
    parts = [rng.choice(WORDS) for _ in range(rng.randint(1, 9))]
    for _ in range(rng.randint(0, noise)):
        low, high = rng.choice(((0x20, 0x7E), (0xA0, 0x17F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0x97F),
                                (0x2000, 0x206F), (0x2460, 0x24FF), (0x3040, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xAD00),
                                (0xFF00, 0xFFEF), (0x1D400, 0x1D4FF), (0x1F300, 0x1F6FF), (0x11000, 0x11FFF), (0, 0x1F)))
        parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 4))))
    rng.shuffle(parts)
    return "".join(part + rng.choice((" ", " ", " ", "", "  ", ", ", ".", "\n", "!")) for part in parts)


def corpus():
    rng = random.Random(7)
    return [make_text(rng, noise=0) for _ in range(3000)]


def charsmap(table):
    """A charsmap as SentencePiece writes it: a double array of `table`'s keys, then its texts."""
    texts, offsets = b"", {}
    for value in sorted(set(table.values())):
        offsets[value] = len(texts)
        texts += value.encode() + b"\0"
    tree = {}
    for key, value in table.items():
        node = tree
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[-1] = offsets[value]
    units, used = {0: 0}, {0}

    def place(node, position):
        labels = [0 if label == -1 else label for label in node]
        base = 1
        while any((base ^ label) in used for label in labels):
            base += 1
        units[position] = units.get(position, 0) | (position ^ base) << 10 | ((-1 in node) << 8)
        used.update(base ^ label for label in labels)
        for label, child in node.items():
            if label == -1:
                units[base] = child | 1 << 31
            else:
                units[base ^ label] = label
        for label, child in node.items():
            if label != -1:
                place(child, base ^ label)

    place(tree, 0)
    size = (max(units) | 0xFF) + 1
    return struct.pack(f"<I{size}I", size * 4, *(units.get(i, 0) for i in range(size))) + texts


def small_charsmap():
    table = {"\u3000": " ", "\u00a0": " ", "\u2028": " ", "\t": " ", "\n": " ", "\r": " ", "\x01": "", "\u200b": " ", "\ufeff": "", "\u00ad": ""}
    for c in list(range(0xA0, 0x250)) + list(range(0x2460, 0x2480)) + list(range(0xFB00, 0xFB07)) + list(range(0xFF01, 0xFF60)):
        normal = unicodedata.normalize("NFKC", chr(c))
        if normal != chr(c):
            table.setdefault(chr(c), normal)
    for letter in "aeiouAEIOUnc":
        for mark in "\u0300\u0301\u0302\u0303\u0308\u0327":
            composed = unicodedata.normalize("NFC", letter + mark)
            if len(composed) == 1:
                table[letter + mark] = composed
    return charsmap(table)


def template(single, pair, *tokens):
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=list(tokens))


def byte_tokens():
    return [f"<0x{byte:02X}>" for byte in range(256)]


def make_unigram_t5():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(small_charsmap()), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    t.train_from_iterator(corpus(), trainers.UnigramTrainer(vocab_size=500, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    t.post_processor = template("$A </s>", "$A </s> $B:1 </s>:1", ("</s>", 1))
    t.add_tokens([AddedToken("<x>", rstrip=True, lstrip=True), AddedToken("keep", single_word=True)])
    return t


def make_unigram_bytes():
    t = make_unigram_t5()
    state = json.loads(t.to_str())
    vocabulary = state["model"]["vocab"][:350]
    state["model"].update(vocab=vocabulary + [[token, -12.5] for token in byte_tokens()], byte_fallback=True)
    state["added_tokens"] = state["added_tokens"][:3]
    state["normalizer"] = json.loads(normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Strip(), normalizers.Replace(Regex(r"\s+"), " ")]).__getstate__())
    state["pre_tokenizer"] = json.loads(pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), pre_tokenizers.Metaspace(prepend_scheme="first")]).__getstate__())
    state["decoder"] = json.loads(decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")]).__getstate__())
    return Tokenizer.from_str(json.dumps(state))


def make_bert():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=700, special_tokens=special, show_progress=False))
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    t.add_special_tokens([AddedToken("[MASK]", lstrip=True, special=True)])
    return t


def make_bert_cased():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", continuing_subword_prefix="@@"))
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("merged_with_previous"), pre_tokenizers.Digits(True)])
    t.decoder = decoders.WordPiece(prefix="@@", cleanup=False)
    t.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=600, special_tokens=["[UNK]"], continuing_subword_prefix="@@", show_progress=False))
    return t


def make_wordlevel():
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(corpus(), trainers.WordLevelTrainer(vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False))
    t.post_processor = template("<s> $A </s>", "<s> $A </s> $B </s>", ("<s>", 1), ("</s>", 2))
    t.add_tokens([AddedToken("Keep", normalized=True), AddedToken("<X>", normalized=True, single_word=True)])
    return t


def train_sentencepiece_bpe(t, size):
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"] + byte_tokens(), limit_alphabet=150, show_progress=False))
    state = json.loads(t.to_str())
    state["model"].update(unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    state["added_tokens"] = state["added_tokens"][:3]
    return Tokenizer.from_str(json.dumps(state))


def make_llama2():
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    t = train_sentencepiece_bpe(t, 900)
    state = json.loads(t.to_str())
    state["pre_tokenizer"] = None
    t = Tokenizer.from_str(json.dumps(state))
    t.post_processor = template("<s> $A", "<s> $A <s>:1 $B:1", ("<s>", 1))
    return t


def make_gemma():
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    t.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_previous")
    t = train_sentencepiece_bpe(t, 900)
    t.add_tokens([AddedToken(" " * n, normalized=False) for n in (2, 3)] + [AddedToken("▁▁▁▁", normalized=False)])
    return t


def make_roberta():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=900, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=True)
    return t


def make_llama3():
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=800, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_special_tokens(["<|begin_of_text|>"])
    start = t.token_to_id("<|begin_of_text|>")
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template("<|begin_of_text|> $A", "<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", ("<|begin_of_text|>", start))])
    return t


def make_clip():
    t = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", continuing_subword_prefix="+"))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True)
    t.decoder = decoders.BPEDecoder("</w>")
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=600, special_tokens=["<unk>"], end_of_word_suffix="</w>", continuing_subword_prefix="+", limit_alphabet=120, show_progress=False))
    return t


def make_ctc():
    t = Tokenizer(models.WordLevel({c: i for i, c in enumerate(["<pad>", "<unk>", "|"] + list("abcdefghijklmnopqrstuvwxyz'."))}, unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "|")])
    t.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    t.decoder = decoders.CTC()
    return t


TOKENIZERS = {
    "unigram_t5": make_unigram_t5, "unigram_bytes": make_unigram_bytes, "bert": make_bert, "bert_cased": make_bert_cased,
    "wordlevel": make_wordlevel, "llama2": make_llama2, "gemma": make_gemma, "roberta": make_roberta, "llama3": make_llama3, "clip": make_clip, "ctc": make_ctc,
}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def write_tokenizer(name, tokenizer):
    tokenizer.save(str(DATA / name / "tokenizer.json"), pretty=False)
    rng = random.Random(name)
    texts = TEXTS + [make_text(rng) for _ in range(60)]
    cases, pairs, lists = [], [], []
    for text in texts:
        full = tokenizer.encode(text)
        plain = tokenizer.encode(text, add_special_tokens=False)
        case = {"text": text, "ids": full.ids, "type_ids": full.type_ids, "plain_ids": plain.ids}
        if full.ids:
            case.update(decoded=tokenizer.decode(full.ids, skip_special_tokens=False), decoded_plain=tokenizer.decode(full.ids))
        cases.append(case)
    for _ in range(10):
        first, second = rng.choice(texts), rng.choice(texts)
        full = tokenizer.encode(first, second)
        pairs.append({"first": first, "second": second, "ids": full.ids, "type_ids": full.type_ids,
                      "plain_ids": tokenizer.encode(first, second, add_special_tokens=False).ids})
    size = tokenizer.get_vocab_size()
    for _ in range(40):
        ids = [rng.randrange(size) for _ in range(rng.randint(1, 12))]
        lists.append({"ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
    write_json(DATA / name / "cases.json", {"cases": cases, "pairs": pairs, "lists": lists})


def state(step):
    return json.loads(step.__getstate__())


def write_steps():
    rng = random.Random(3)
    texts = TEXTS[:22] + ["the-final--countdown", "a,b;;c", "--a--", "ab12cd345", "  x  ", "aXXbXc", "\u30fc\u3042\u6f22a\u0430 \u0431"]
    texts += [make_text(rng) for _ in range(12)]
    behaviors = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    P, N, D = pre_tokenizers, normalizers, decoders
    splitters = [P.Split(pattern, behavior, invert) for behavior in behaviors for invert in (False, True)
                 for pattern in ("-", Regex(r"\d+|X"), Regex("a*"))]
    splitters += [P.Punctuation(behavior) for behavior in behaviors]
    splitters += [P.Digits(True), P.Digits(False), P.BertPreTokenizer(), P.Whitespace(), P.WhitespaceSplit(), P.CharDelimiterSplit("a"),
                  P.UnicodeScripts(), P.FixedLength(3), P.ByteLevel(True), P.ByteLevel(False, use_regex=False), P.Split("", "isolated")]
    splitters += [P.Metaspace("\u2581", scheme, split) for scheme in ("always", "first", "never") for split in (True, False)]
    splitters += [P.Sequence([P.WhitespaceSplit(), P.Metaspace(prepend_scheme="first"), P.Punctuation()])]
    for pattern in (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                    r"\p{Han}+|[^\s\p{Han}]+|\s", r"(?<=a)b|\bthe\b|^ |x$", r"[a-z&&[^aeiou]]+", r"\w+?\W", r"(?>a+)b|\h{2}", r"(\p{L})\1"):
        splitters.append(P.Split(Regex(pattern), "isolated"))
    changers = [N.NFC(), N.NFD(), N.NFKC(), N.NFKD(), N.Lowercase(), N.StripAccents(), N.Strip(), N.Strip(True, False), N.Strip(False, True), N.Replace("a", "bb"),
                N.Replace(Regex(r"\s+|e"), "_"), N.Replace("", "x"), N.Prepend("\u2581"), N.Nmt(), N.ByteLevel(), N.Precompiled(small_charsmap()),
                N.Sequence([N.NFKD(), N.StripAccents(), N.Lowercase(), N.Strip()])]
    changers += [N.BertNormalizer(clean_text=bool(a), handle_chinese_chars=bool(b),
                                         strip_accents=None if c is None else bool(c), lowercase=bool(d))
                 for a, b, c, d in ((1, 1, None, 1), (1, 0, 0, 0), (0, 1, 1, 0), (0, 0, 0, 1), (1, 1, 0, 1), (0, 0, 1, 1))]
    tokens = [["\u2581Hello", "\u2581", "world", "!", "\u2581a\u2581"], ["hello", "##ing", ".", "do", "not", "'s", "n't", "##", " ' ", "?"], ["a</w>", "b", "c</w></w>", "d</w>"],
              ["<pad>", "h", "h", "<pad>", "h", "|", "|", "i", ".", "x|y", "<pad>"], ["<0xE4>", "<0xBD>", "<0xA0>", "a", "<0xE4>", "b", "<0x41>", "<0xFF>", "<0xFE>"],
              ["\u0120Hello", "\u0120w\u00c3", "\u00a9", "\u4f60", "\u00e4\u00bd"], ["  a  ", " ", "  ", "b "], ["x"]]
    takers = [D.WordPiece(), D.WordPiece("##", False), D.BPEDecoder(), D.CTC(), D.CTC("<pad>", "|", False), D.Metaspace(), D.Metaspace(prepend_scheme="never"), D.Fuse(), D.ByteFallback(),
              D.ByteLevel(), D.Replace("a", "--"), D.Replace(Regex("l+"), "L"), D.Strip(" ", 1, 0), D.Sequence([D.Replace("\u2581", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 1)]),
              D.Sequence([D.ByteFallback(), D.WordPiece()]), D.Sequence([D.CTC(), D.Fuse(), D.Strip("h", 1, 1)]), D.Sequence([D.BPEDecoder(), D.Strip(" ", 0, 0), D.Fuse()])]
    result = {"pre_tokenizers": [], "normalizers": [], "decoders": []}
    for step in splitters:
        result["pre_tokenizers"].append({"step": state(step), "results": [[piece for piece, _ in step.pre_tokenize_str(text)] for text in texts]})
    for step in changers:
        result["normalizers"].append({"step": state(step), "results": [step.normalize_str(text) for text in texts]})
    for step in takers:
        result["decoders"].append({"step": state(step), "results": [step.decode(list(row)) for row in tokens]})
    result.update(texts=texts, tokens=tokens)
    write_json(DATA / "steps.json", result)


def main():
    for name, make in TOKENIZERS.items():
        (DATA / name).mkdir(parents=True, exist_ok=True)
        write_tokenizer(name, make())
    write_steps()


main()
