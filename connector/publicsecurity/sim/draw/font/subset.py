#!/usr/bin/env python3
"""Makes the two font subsets of this directory from Debian's fonts-noto-cjk.

    subset.py SERIF_TTC SANS_TTC OUTDIR

SERIF_TTC is NotoSerifCJK-Bold.ttc, SANS_TTC is NotoSansCJK-Bold.ttc. Face 2 of
either collection is the simplified Chinese one. The result depends only on the
two inputs and the fontTools version, never on the clock; README.md holds the
digests that were obtained.
"""

import hashlib
import os
import sys

from fontTools import subset, version
from fontTools.ttLib import TTFont

FACE = 2

# Characters of Luoyang place names and of personal names that GB 2312 lacks.
RARE = "瀍喆堃昇珺㛃䶮" "〇镕玥瑄翀珅頔祎垚骉燚淏昉芃旸翯赟甦翊峣玮琤曌"

PUNCTUATION = "·—‘’“”…、。《》「」『』【】〔〕！（），．：；？－～％＆"


def gb2312_ideographs():
    """Rows 16 to 87 of GB 2312: 3,755 + 3,008 = 6,763 ideographs."""
    found = []
    for row in range(16, 88):
        for cell in range(1, 95):
            try:
                found.append(bytes([0xA0 + row, 0xA0 + cell]).decode("gb2312"))
            except UnicodeDecodeError:
                pass
    if len(found) != 6763:
        sys.exit("GB 2312 gave %d ideographs, 6763 expected" % len(found))
    return "".join(found)


def ascii_printable():
    return "".join(chr(c) for c in range(0x20, 0x7F))


def make(source, text, target):
    font = TTFont(source, fontNumber=FACE, recalcTimestamp=False)
    present = font.getBestCmap()
    missing = [c for c in text if ord(c) not in present]
    if missing:
        sys.exit("%s lacks %s" % (os.path.basename(source), "".join(missing)))
    options = subset.Options()
    options.layout_features = []
    options.hinting = False
    options.glyph_names = False
    options.notdef_outline = True
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.name_languages = [0x409]
    options.drop_tables += ["vhea", "vmtx", "VORG", "BASE", "GSUB", "GPOS", "GDEF"]
    worker = subset.Subsetter(options)
    worker.populate(text=text)
    worker.subset(font)
    font.save(target)
    with open(target, "rb") as f:
        data = f.read()
    print("%s  %s  %d bytes" % (hashlib.sha256(data).hexdigest(), os.path.basename(target), len(data)))


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    serif, sans, out = sys.argv[1:]
    print("fontTools", version)
    make(serif, gb2312_ideographs() + ascii_printable() + PUNCTUATION + RARE,
         os.path.join(out, "NotoSerifCJKsc-Bold-subset.otf"))
    make(sans, ascii_printable(), os.path.join(out, "NotoSansCJKsc-Bold-digits.otf"))


if __name__ == "__main__":
    main()
