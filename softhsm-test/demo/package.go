package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// extract writes one part of an OFD package to a file.
func extract(ofd []byte, part, path string) error {
	b, err := read(ofd, part)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

func read(ofd []byte, part string) ([]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(ofd), int64(len(ofd)))
	if err != nil {
		return nil, err
	}
	f, err := z.Open(strings.TrimPrefix(part, "/"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// oneByte changes one byte in the content of the last page: a digit of its text becomes another one. The package stays well-formed.
func oneByte(ofd []byte) ([]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(ofd), int64(len(ofd)))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	changed := false
	for _, f := range z.File {
		b, err := read(ofd, f.Name)
		if err != nil {
			return nil, err
		}
		if at := bytes.Index(b, []byte("</ofd:TextCode>")); !changed && strings.HasSuffix(f.Name, "Content.xml") && at > 0 {
			b[at-1] ^= 1
			changed = true
		}
		p, err := w.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: f.Modified})
		if err != nil {
			return nil, err
		}
		if _, err := p.Write(b); err != nil {
			return nil, err
		}
	}
	if !changed {
		return nil, fmt.Errorf("no text found to change")
	}
	err = w.Close()
	return out.Bytes(), err
}
