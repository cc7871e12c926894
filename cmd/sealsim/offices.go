package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	account "sealkeeper/connector/account/sim"
	authority "sealkeeper/connector/authority/sim"
	notice "sealkeeper/connector/notice/sim"
	person "sealkeeper/connector/person/sim"
	publicsecurity "sealkeeper/connector/publicsecurity/sim"
	registration "sealkeeper/connector/registration/sim"
	"sealkeeper/connector/sim"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/licence"
)

// offices are the systems outside as the appliance reaches them, each under /offices/NAME, with its manners. Feeds and keys are on disk; what else an
// office remembers ends with the process.
type offices struct {
	registry registration.Office
	police   publicsecurity.Office
	routes   map[string]http.Handler
	manners  map[string]*sim.Manners
}

// firstFiling is behind what the tester engraves by hand, so that no filing number is given twice.
const firstFiling = 500_000

// openOffices opens all offices of a directory; enterprise is whom public security engraves for.
func openOffices(dir string, registry, police *softkey.Key, enterprise func(uscc string) (licence.Fields, error)) (*offices, error) {
	o := &offices{}
	o.registry.Key, o.police.Key = registry, police
	o.police.Enterprise = func(uscc string) (licence.Fields, bool) {
		f, err := enterprise(uscc)
		return f, err == nil
	}
	for name, f := range map[string]*sim.Feed{"registration": &o.registry.Feed, "public-security": &o.police.Feed} {
		if err := keepFeed(filepath.Join(dir, name+".feed.jsonl"), f); err != nil {
			return nil, fmt.Errorf("feed of %s: %w", name, err)
		}
	}
	o.police.From(firstFiling + o.police.Feed.Len())
	ca, err := openAuthority(dir)
	if err != nil {
		return nil, err
	}
	key, err := keyOf(filepath.Join(dir, "person-check"))
	if err != nil {
		return nil, err
	}
	accounts, notices, persons := &account.Office{}, &notice.Office{}, &person.Office{Key: key, Now: time.Now}
	o.routes = map[string]http.Handler{"registration": o.registry.Routes(), "public-security": o.police.Routes(), "account": accounts.Routes(), "notice": notices.Routes(),
		"authority": ca.Routes(), "person-check": persons.Routes()}
	o.manners = map[string]*sim.Manners{"registration": &o.registry.Manners, "public-security": &o.police.Manners, "account": &accounts.Manners, "notice": &notices.Manners,
		"authority": &ca.Manners, "person-check": &persons.Manners}
	return o, nil
}

// keyOf loads a key, or makes it with its public point to pin.
func keyOf(prefix string) (*softkey.Key, error) {
	k, err := softkey.Load(prefix + ".key")
	if !errors.Is(err, os.ErrNotExist) {
		return k, err
	}
	if k, err = softkey.Generate(nil); err != nil {
		return nil, err
	}
	if err := k.Save(prefix + ".key"); err != nil {
		return nil, err
	}
	return k, os.WriteFile(prefix+".pin", []byte(hex.EncodeToString(k.Public().Point())+"\n"), 0o644)
}

// openAuthority opens the certificate authority; its anchor to pin is authority.pem.
func openAuthority(dir string) (*authority.Office, error) {
	root, err := keyOf(filepath.Join(dir, "authority.root"))
	if err != nil {
		return nil, err
	}
	issuing, err := keyOf(filepath.Join(dir, "authority.issuing"))
	if err != nil {
		return nil, err
	}
	var kept [2][]byte
	for i, name := range []string{"authority.pem", "authority.issuing.pem"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if block, _ := pem.Decode(b); block != nil {
			kept[i] = block.Bytes
		}
	}
	office, err := authority.Open(root, issuing, kept[0], kept[1], time.Now)
	if err != nil || kept[0] != nil {
		return office, err
	}
	for i, name := range []string{"authority.pem", "authority.issuing.pem"} {
		der := [][]byte{office.Anchor(), office.Issuing()}[i]
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
			return nil, err
		}
	}
	return office, nil
}

// keepFeed reads a feed's messages back and writes down those that come.
func keepFeed(path string, f *sim.Feed) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var e envelope.Envelope
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		f.Add(e)
	}
	f.Keep = func(e envelope.Envelope) error { return json.NewEncoder(file).Encode(e) }
	return lines.Err()
}

// fault is how an office is to behave: well, hang, down, error, busy, refuse, garbage, twice, lost or moved.
type fault struct {
	Office   string   `json:"office"`
	Mood     sim.Mood `json:"mood"`
	Requests int      `json:"requests"` // for how many requests; 0 until told otherwise
}

// onFault is the switch.
func (o *offices) onFault(_ context.Context, in fault) (fault, error) {
	m, known := o.manners[in.Office]
	if !known {
		return in, fmt.Errorf("office %q: want one of %v", in.Office, slices.Sorted(maps.Keys(o.manners)))
	}
	mood := in.Mood
	if mood == "well" {
		mood = sim.Well
	}
	if in.Mood != "well" && mood != sim.Refuse && !slices.Contains(sim.Moods, mood) {
		return in, fmt.Errorf("mood %q: want well, %s or one of %v", in.Mood, sim.Refuse, sim.Moods)
	}
	n := in.Requests
	if n <= 0 {
		n = -1
	}
	m.Behave(mood, n)
	return in, nil
}

// addTo hangs the offices and their switch into the simulators' routes.
func (o *offices) addTo(mux *http.ServeMux) {
	for name, h := range o.routes {
		mux.Handle("/offices/"+name+"/", http.StripPrefix("/offices/"+name, h))
	}
	mux.Handle("POST /faults", act(o.onFault))
	mux.HandleFunc("GET /offices", func(w http.ResponseWriter, _ *http.Request) {
		calls := map[string]int{}
		for name, m := range o.manners {
			calls[name] = m.Calls()
		}
		sim.Answer(w, http.StatusOK, calls)
	})
}
