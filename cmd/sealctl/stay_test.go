package main

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sealkeeper/signer/cms"
	"sealkeeper/signer/verify/signeddata"
)

// answered signs one digest of what prepare printed, as the appliance would: "answered seal|sign|entries LAYOUT.json OUT". The office is that of
// "sealed" in the session's directory.
func answered(ts *testscript.TestScript, _ bool, args []string) {
	kept, _ := offices.Load(ts.MkAbs("."))
	o := kept.(office)
	var l laidOFD
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &l))
	text := l.Digest
	if args[0] == "entries" {
		text = l.Entries
	}
	b, err := hex.DecodeString(text)
	ts.Check(err)
	var value []byte
	if args[0] == "seal" {
		value, err = o.sign([32]byte(b), l.Property, time.Now().UTC().Truncate(time.Second))
	} else {
		value, err = o.signedData([32]byte(b))
	}
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), value, 0o600))
}

// signedData is what sealctl sign cms --digest would write.
func (o *office) signedData(digest [32]byte) ([]byte, error) {
	d, err := cms.Prepare(cms.Request{Form: cms.GM, Algorithm: cms.SM2, Certificate: o.certificate, Digest: digest, SigningTime: time.Now()})
	if err != nil {
		return nil, err
	}
	value, err := o.sealKey.Key.Sign(d.Attributes())
	if err != nil {
		return nil, err
	}
	der, err := d.Assemble(value, nil)
	if err != nil {
		return nil, err
	}
	if _, err := signeddata.Parse(der); err != nil {
		return nil, err
	}
	return der, nil
}

// judges runs sealctl verify on a file under the anchors that "sealed" wrote and demands a verdict: "judges valid FILE".
func judges(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Exec("sealctl", "verify", "--root", "root.pem", "--intermediate", "issuing.pem", "--maker", "maker.pem", "--output", "json", args[1]))
	if got := ts.ReadFile("stdout"); !strings.Contains(got, `"verdict": "`+args[0]+`"`) || neg {
		ts.Fatalf("%s", got)
	}
}
