package seal_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"sealkeeper/seal"
)

// spell reads lines of "hex bytes   meaning"; the meaning begins after three blanks. CERT stands for the listed certificate.
func spell(t *testing.T, text string, cert []byte) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(text) {
		octets, _, _ := strings.Cut(strings.TrimSpace(line), "   ")
		if octets == "CERT" {
			out = append(out, cert...)
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(octets, " ", ""))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		out = append(out, b...)
	}
	return out
}

// TestSealInfoBytes holds every octet of SES_SealInfo in place. testdata/listed.der is a certificate of 290 bytes made for this test
// from the private scalar 9.
func TestSealInfoBytes(t *testing.T) {
	cert, err := os.ReadFile("testdata/listed.der")
	if err != nil {
		t.Fatal(err)
	}
	got, err := seal.Info{
		Vid: "SK", ESID: "41030000000001", Type: 5, Name: "章", Certs: [][]byte{cert},
		CreateDate: time.Date(2026, 1, 2, 3, 4, 5, 999, time.UTC),
		ValidStart: time.Date(2026, 1, 2, 8, 0, 0, 0, time.FixedZone("UTC+8", 8*3600)),
		ValidEnd:   time.Date(2029, 1, 2, 0, 0, 0, 0, time.UTC),
		Picture:    seal.Picture{Type: "PNG", Data: []byte("\x89PNG\r\n\x1a\n"), WidthMM: 20, HeightMM: 200},
		Ext:        []seal.Extension{{OID: "1.2.156", Value: []byte{7}}},
	}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := spell(t, sealInfoOctets, cert)
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", hex.Dump(got), hex.Dump(want))
	}
}

const sealInfoOctets = `30 82 01 B0   SES_SealInfo
30 0B   SES_Header
16 02 45 53   id "ES"
02 01 04   version 4
16 02 53 4B   vid "SK"
16 0E 34 31 30 33 30 30 30 30 30 30 30 30 30 31   esID
30 82 01 68   SES_ESPropertyInfo
02 01 05   type 5
0C 03 E7 AB A0   name 章
02 01 01   certListType 1
30 82 01 26   certList
04 82 01 22   certificate
CERT
18 0F 32 30 32 36 30 31 30 32 30 33 30 34 30 35 5A   createDate 20260102030405Z
18 0F 32 30 32 36 30 31 30 32 30 30 30 30 30 30 5A   validStart 20260102000000Z
18 0F 32 30 32 39 30 31 30 32 30 30 30 30 30 30 5A   validEnd 20290102000000Z
30 16   SES_ESPictureInfo
16 03 50 4E 47   type "PNG"
04 08 89 50 4E 47 0D 0A 1A 0A   data
02 01 14   width 20 mm
02 02 00 C8   height 200 mm
30 0D   extDatas, untagged
30 0B   ExtData
06 03 2A 81 1C   extnID 1.2.156
01 01 00   critical FALSE, written out
04 01 07   extnValue`

// TestTBSBytes holds every octet of TBS_Sign around an embedded seal in place.
func TestTBSBytes(t *testing.T) {
	sealDER, _ := makeSeal(t, sampleInfo(newPair(t, "u", 9).cert))
	got, err := seal.TBS{SealDER: sealDER, Time: created, DataHash: [32]byte{0xAA, 31: 0xBB}, PropertyInfo: "/S"}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	n := 3 + len(sealDER) + 17 + 35 + 4
	want := append([]byte{0x30, 0x82, byte(n >> 8), byte(n)}, spell(t, "02 01 04   version 4\nCERT   \n"+tbsTailOctets, sealDER)...)
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", hex.Dump(got), hex.Dump(want))
	}
}

const tbsTailOctets = `18 0F 32 30 32 36 30 33 30 31 30 31 30 32 30 33 5A   timeInfo 20260301010203Z
03 21 00   dataHash, no unused bits
AA 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00   octets 1 to 16
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 BB   octets 17 to 32
16 02 2F 53   propertyInfo "/S", no extDatas`
