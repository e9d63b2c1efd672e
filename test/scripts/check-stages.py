#!/usr/bin/env python3
"""Checks a page that shows what each stage of the compiler makes of a model.

usage: check-stages.py MLSYS_OPT PAGE MODEL

The page has fenced blocks, each behind `<!-- stage: NAME OPTIONS -->` or
`<!-- passes: NAME -->`. The first shows parts of the module after the pipelines of all the stages up
to NAME, run with the options that their blocks give; the second shows the pipeline of a stage.
A line of a block is a line of the output, without its indentation. `...` alone stands for any lines, and in a line for
any text. Exits with 1 and says where a block differs.
"""

import re
import subprocess
import sys

BLOCK = re.compile(r"<!-- (stage|passes): (\w+)(?: ([^>]*?))? -->\n```\w*\n(.*?)\n```", re.S)


def run(tool, arguments, text=None):
    result = subprocess.run([tool, *arguments], input=text, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join([tool, *arguments])}:\n{result.stderr}")
    return result


def squeeze(line):
    return re.sub(r"\s+", " ", line).strip()


def difference(block, output):
    """The first line of the block that the output does not have in its place; none when it fits."""
    lines = [squeeze(line) for line in output.splitlines()]
    position, anywhere = 0, True
    for wanted in map(squeeze, block.splitlines()):
        if not wanted:
            continue
        if wanted == "...":
            anywhere = True
            continue
        pattern = re.compile(".*".join(map(re.escape, wanted.split("..."))))
        places = range(position, len(lines) if anywhere else min(position + 1, len(lines)))
        found = next((place for place in places if pattern.fullmatch(lines[place])), None)
        if found is None:
            near = lines[position] if position < len(lines) else "the end"
            return f"  shown:  {wanted}\n  actual: {'not after: ' if anywhere else ''}{near}"
        position, anywhere = found + 1, False
    return None


def main(tool, page, model):
    with open(page) as file:
        text = file.read()
    blocks = BLOCK.findall(text)
    bad = 0
    flags, output = [], run(tool, [model]).stdout
    for kind, name, options, block in blocks:
        if kind == "passes":
            shown = run(tool, [f"--mlsys-{name}-pipeline", "-dump-pass-pipeline"], "module {}")
            actual = re.sub(r"canonicalize\{[^}]*\}", "canonicalize", shown.stderr)
        else:
            flag = f"--mlsys-{name}-pipeline"
            if not any(known.split("=")[0] == flag for known in flags):
                flags.append(flag + (f"={options}" if options else ""))
                output = run(tool, [model, *flags]).stdout
            actual = output
        if found := difference(block, actual):
            bad += 1
            print(f"{page}: a block of the stage {name} differs\n{found}")
    print(f"{len(blocks)} blocks, {bad} differ")
    return 1 if bad or not blocks else 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
