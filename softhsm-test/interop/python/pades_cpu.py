"""Processor time of pyHanko for one PAdES signature with a picture on one page, warm: the peer of BenchmarkPAdES in signer/pdf.

Not part of any target: pyHanko comes from outside Debian. With pyHanko[image-support] installed (0.38.0 was measured):

    python3 pades_cpu.py DOCUMENT.pdf PICTURE.png KEY.pem CERTIFICATE.pem [TIMES]

It prints microseconds of processor time a document, median of five rounds.
"""

import io
import statistics
import sys
import time

from pyhanko import stamp
from pyhanko.pdf_utils import images
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers


def main():
    document, picture, key, certificate = sys.argv[1:5]
    times = int(sys.argv[5]) if len(sys.argv) > 5 else 50
    with open(document, "rb") as f:
        plain = f.read()
    signer = signers.SimpleSigner.load(key, certificate)
    image = images.PdfImage(picture)
    style = stamp.StaticStampStyle(background=image, border_width=0, background_opacity=1.0)

    def sign():
        writer = IncrementalPdfFileWriter(io.BytesIO(plain))
        fields.append_signature_field(writer, fields.SigFieldSpec("Signature1", box=(340, 180, 453, 293), on_page=0))
        meta = signers.PdfSignatureMetadata(field_name="Signature1", md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES)
        out = signers.PdfSigner(meta, signer, stamp_style=style).sign_pdf(writer)
        return out.getbuffer().nbytes

    for _ in range(5):
        sign()
    rounds = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(times):
            sign()
        rounds.append((time.process_time() - start) / times * 1e6)
    print(f"{statistics.median(rounds):.0f}")


main()
