package verify

import "testing"

func TestTextName(t *testing.T) {
	for stored, want := range map[string]string{
		"Doc_0/a.xml":                   "Doc_0/a.xml",
		"Doc_0/测试.txt":                  "Doc_0/测试.txt",
		"Doc_0/\xb2\xe2\xca\xd4.txt":    "Doc_0/测试.txt", // GBK
		"Doc_0/\xff\xff":                "Doc_0/\xff\xff",
		"Doc_0/\xd5\x5c/..\x5cevil\xff": "Doc_0/\xd5\x5c/..\x5cevil\xff",
	} {
		if got := textName(stored); got != want {
			t.Errorf("textName(%q) = %q, want %q", stored, got, want)
		}
	}
}
