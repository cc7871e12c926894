#!/usr/bin/env bash
# verify-with-openssl.sh SEAL.esl SIGNEDVALUE.dat
#
# Checks with OpenSSL alone, with nothing of Sealkeeper's: the maker's signature over SES_SealInfo in a seal, and the seal key's signature over
# TBS_Sign in a signature (GB/T 38540). Both are SM2 with SM3 under the user ID of GM/T 0009; OpenSSL before 4.0 must be told that ID.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,6p' "$0"; exit 2; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# child FILE N: header offset of the N-th child (from 1) of the outer SEQUENCE
child() { openssl asn1parse -inform DER -in "$1" | awk -F: '$2 ~ /d=1 /' | sed -n "$2p" | cut -d: -f1 | tr -d ' '; }

# verify NAME FILE CERT-CHILD SIGNATURE-CHILD: child 1 is what was signed, the certificate is an OCTET STRING, the signature a BIT STRING
verify() {
  local name=$1 file=$2
  openssl asn1parse -inform DER -in "$file" -strparse "$(child "$file" 1)" -noout -out "$work/signed.der"
  openssl asn1parse -inform DER -in "$file" -strparse "$(child "$file" "$3")" -noout -out "$work/cert.der"
  openssl asn1parse -inform DER -in "$file" -strparse "$(child "$file" "$4")" -noout -out "$work/sig.der"
  openssl x509 -inform DER -in "$work/cert.der" -noout -pubkey > "$work/pub.pem"
  local said
  said=$(openssl dgst -sm3 -verify "$work/pub.pem" -sigopt distid:1234567812345678 -signature "$work/sig.der" "$work/signed.der") || { echo "$name: $said"; exit 1; }
  echo "$name: $said ($(openssl x509 -inform DER -in "$work/cert.der" -noout -subject -nameopt utf8,sep_comma_plus | sed 's/^subject=//'))"
  [ "$said" = "Verified OK" ]
}

verify "SES_SealInfo by the seal maker" "$1" 2 4
verify "TBS_Sign by the seal's key" "$2" 2 4
