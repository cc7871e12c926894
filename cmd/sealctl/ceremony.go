package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/client"
	"sealkeeper/keystore"
)

const ceremonies = "/v1/ceremonies"

func (s *settings) ceremony() *cobra.Command {
	cmd := noun("ceremony", "acts that take more than one officer: a reviewed plan, approvals, one execution, a transcript", s.ceremonyCheck(), s.ceremonyDraft(), s.ceremonyList(),
		s.ceremonyShow(), s.ceremonyApprove(), s.ceremonyExecute(), s.ceremonyAbandon(), s.ceremonyTranscript(), s.ceremonyVerify(), s.ceremonyKeys(), s.ceremonyWrappingKeys())
	cmd.Use = "ceremony [PLAN]"
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if len(a) == 1 && isFile(a[0]) {
			return s.ceremonyNext(cmd, a[0])
		}
		return wantVerb(cmd, a)
	}
	return s.keyed(cmd)
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// readPlan reads a plan and its name.
func readPlan(file string) (text []byte, p ceremony.Plan, id string, err error) {
	if text, err = os.ReadFile(file); err != nil {
		return nil, p, "", fmt.Errorf("reading the plan: %w", err)
	}
	if p, err = ceremony.ParsePlan(text); err != nil {
		return nil, p, "", fmt.Errorf("reading the plan %s: %w", file, err)
	}
	id, err = p.ID()
	return text, p, id, err
}

// ceremonyNext hands a plan in when nobody has, and says how far it is otherwise.
func (s *settings) ceremonyNext(cmd *cobra.Command, file string) error {
	text, _, id, err := readPlan(file)
	if err != nil {
		return err
	}
	cl, err := s.client()
	if err != nil {
		return err
	}
	_, err = cl.Do(cmd.Context(), client.Call{Method: http.MethodGet, Path: route(ceremonies, id, "")})
	if client.Code(err) == "unknown-record" {
		return tell(s, cmd, ceremonies, map[string]string{"plan": string(text)}, showCeremony)
	}
	return look(s, cmd, route(ceremonies, id, ""), showCeremony)
}

func (s *settings) ceremonyCheck() *cobra.Command {
	return &cobra.Command{Use: "check PLAN", Short: "read a plan strictly, without the appliance, and print what approvals would be for", Args: args("PLAN"),
		RunE: func(cmd *cobra.Command, a []string) error {
			_, p, id, err := readPlan(a[0])
			if err != nil {
				return err
			}
			canonical, err := p.Canonical()
			if err != nil {
				return err
			}
			return s.show(cmd, map[string]any{"id": id, "canonical": string(canonical), "approvals": p.Approvals}, func(w io.Writer) {
				fmt.Fprintf(w, "plan\t%s\n", id)
				for _, line := range strings.Split(strings.TrimSuffix(string(canonical), "\n"), "\n") {
					fmt.Fprintf(w, "  %s\n", visible(line))
				}
			})
		}}
}

func (s *settings) ceremonyDraft() *cobra.Command {
	return s.keyed(&cobra.Command{Use: "draft PLAN", Short: "hand a plan in for others to approve", Args: args("PLAN"),
		RunE: func(cmd *cobra.Command, a []string) error {
			text, _, _, err := readPlan(a[0])
			if err != nil {
				return err
			}
			return tell(s, cmd, ceremonies, map[string]string{"plan": string(text)}, showCeremony)
		}})
}

func (s *settings) ceremonyList() *cobra.Command {
	return s.paged("list", "list ceremonies", func(cmd *cobra.Command, cursor, limit string) error {
		return look(s, cmd, ceremonies, func(w io.Writer, p client.Page[ceremony.Ceremony]) {
			fmt.Fprintln(w, "CEREMONY\tSTATE\tAPPROVALS\tEXPIRES\tTITLE")
			for _, c := range p.Items {
				fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\t%s\n", c.ID, c.State, len(c.Approvals), c.Needed, when(c.Expires), visible(c.Title))
			}
			more(w, p.Next)
		}, "cursor", cursor, "limit", limit)
	})
}

func (s *settings) ceremonyShow() *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "show a plan with its approvals, and how far it got", Args: args("ID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return look(s, cmd, route(ceremonies, a[0], ""), showCeremony)
		}}
}

func showCeremony(w io.Writer, c ceremony.Ceremony) {
	fmt.Fprintf(w, "ceremony\t%s\nstate\t%s\nasked by\t%s, %s\nexpires\t%s\napprovals\t%d of %d\n", c.ID, c.State, c.Asked.Role, visible(c.Asked.Name), when(c.Expires), len(c.Approvals), c.Needed)
	for _, a := range c.Approvals {
		fmt.Fprintf(w, "  by\t%s, %s, until %s\n", a.Role, visible(a.Name), when(a.Expires))
	}
	for i, p := range c.Steps {
		fmt.Fprintf(w, "step %d\t%s %s\n", i+1, p.Action, orDash(p.State))
		if len(p.Result) > 0 && string(p.Result) != "null" {
			fmt.Fprintf(w, "\t%s\n", visible(string(p.Result)))
		}
	}
	if c.Reason != "" {
		fmt.Fprintf(w, "given up\t%s\n", visible(c.Reason))
	}
	fmt.Fprintf(w, "\n%s\n", visible(c.Plan))
}

// approving is an officer who reads a plan and signs it.
type approving struct {
	*settings
	plan string
	life time.Duration
	yes  bool
}

func (s *settings) ceremonyApprove() *cobra.Command {
	a := &approving{settings: s}
	cmd := s.keyed(&cobra.Command{Use: "approve ID", Short: "read a plan, and sign exactly that plan with the key of your certificate", Args: args("ID"),
		Long: `Fetch the plan, compute its name here, show the very lines that are signed, ask, and sign them with the key of your certificate (--key, or the key on your
USB key). With --plan the plan on the appliance must be the one in the file that you reviewed.`,
		RunE: func(cmd *cobra.Command, given []string) error { return a.run(cmd, given[0]) }})
	cmd.Flags().StringVar(&a.plan, "plan", "", "the plan as you reviewed it")
	cmd.Flags().DurationVar(&a.life, "for", 24*time.Hour, "how long the approval counts, at most until the plan ends")
	cmd.Flags().BoolVarP(&a.yes, "yes", "y", false, "approve without being asked")
	return cmd
}

func (a *approving) run(cmd *cobra.Command, id string) error {
	if a.plan != "" {
		_, _, reviewed, err := readPlan(a.plan)
		if err != nil {
			return err
		}
		if reviewed != id {
			return fmt.Errorf("the plan in %s is %s, not %s: nothing was signed", a.plan, reviewed, id)
		}
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	var c ceremony.Ceremony
	if err := cl.JSON(cmd.Context(), http.MethodGet, route(ceremonies, id, ""), nil, "", nil, &c); err != nil {
		return err
	}
	p, err := planOf(c, id)
	if err != nil {
		return err
	}
	body, err := a.sign(cmd, p, id)
	if err != nil {
		return err
	}
	return tell(a.settings, cmd, route(ceremonies, id, "/approve"), body, showCeremony)
}

// planOf believes nothing: the plan that the appliance shows must be the one of this name.
func planOf(c ceremony.Ceremony, id string) (ceremony.Plan, error) {
	p, err := ceremony.ParsePlan([]byte(c.Plan))
	if err != nil {
		return p, fmt.Errorf("reading the appliance's plan: %w", err)
	}
	if name, err := p.ID(); err != nil || name != id {
		return p, errors.New("the appliance shows another plan than that of this name: nothing was signed")
	}
	return p, nil
}

// approvalBody is what goes to the appliance.
type approvalBody struct {
	Key       []byte    `json:"key"`
	Expires   time.Time `json:"expires"`
	Signature []byte    `json:"signature"`
}

func (a *approving) sign(cmd *cobra.Command, p ceremony.Plan, id string) (approvalBody, error) {
	signer, spki, err := a.identity()
	if err != nil {
		return approvalBody{}, err
	}
	until := time.Now().UTC().Add(a.life).Truncate(time.Second)
	if until.After(p.Expires) {
		until = p.Expires
	}
	message, err := ceremony.Statement{Ceremony: id, Appliance: p.Appliance, Client: access.ClientID(spki), Expires: until}.Canonical()
	if err != nil {
		return approvalBody{}, err
	}
	plan, err := p.Canonical()
	if err != nil {
		return approvalBody{}, err
	}
	d := device{settings: a.settings, yes: a.yes}
	showCanonical(cmd.ErrOrStderr(), plan, nil)
	if err := d.consent(cmd, message); err != nil {
		return approvalBody{}, err
	}
	digest := sha256.Sum256(message)
	sig, err := signer.Sign(rand.Reader, digest[:], sha256Opts)
	if err != nil {
		return approvalBody{}, fmt.Errorf("signing the approval: %w", err)
	}
	return approvalBody{spki, until, sig}, nil
}

func (s *settings) ceremonyExecute() *cobra.Command {
	return s.keyed(&cobra.Command{Use: "execute ID", Short: "carry an approved plan out, or go on where it was interrupted", Args: args("ID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return ask(s, cmd, client.Call{Method: http.MethodPost, Path: route(ceremonies, a[0], "/execute"), Key: s.newKey()}, showCeremony)
		}})
}

func (s *settings) ceremonyAbandon() *cobra.Command {
	var why struct {
		Reason string `json:"reason"`
	}
	cmd := s.keyed(&cobra.Command{Use: "abandon ID --reason TEXT", Short: "give a ceremony up; what was done stays done", Args: args("ID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return tell(s, cmd, route(ceremonies, a[0], "/abandon"), why, showCeremony)
		}})
	cmd.Flags().StringVar(&why.Reason, "reason", "", "why; it stands in the record")
	require(cmd, "reason")
	return cmd
}

func (s *settings) ceremonyTranscript() *cobra.Command {
	var out string
	cmd := &cobra.Command{Use: "transcript ID", Short: "fetch a ceremony's records with their proofs, to be kept and verified elsewhere", Args: args("ID"),
		RunE: func(cmd *cobra.Command, a []string) error {
			return s.fetch(cmd, route(ceremonies, a[0], "/transcript"), out)
		}}
	cmd.Flags().StringVarP(&out, "file", "f", "-", "file to write, - for standard output")
	return cmd
}

// keysAnswer is GET /v1/keys.
type keysAnswer struct {
	Keys    []keystore.Listed `json:"keys"`
	Orphans []keystore.Orphan `json:"orphans"`
}

func (s *settings) ceremonyKeys() *cobra.Command {
	return &cobra.Command{Use: "keys", Short: "list the appliance's own keys, and keys in the token that no record claims", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return look(s, cmd, "/v1/keys", func(w io.Writer, a keysAnswer) {
				fmt.Fprintln(w, "KEY\tPURPOSE\tALGORITHM\tSTATE\tLABEL")
				for _, k := range a.Keys {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Purpose, k.Algorithm, keyState(k), visible(k.Label))
				}
				for _, o := range a.Orphans {
					fmt.Fprintf(w, "%s\t-\t%s\torphan in %s\t%s\n", o.RawID, o.Class, o.Token, visible(o.Label))
				}
			})
		}}
}

// wrappingKeysAnswer is GET /v1/wrapping-keys.
type wrappingKeysAnswer struct {
	WrappingKeys []keystore.KEKState `json:"wrapping_keys"`
}

func (s *settings) ceremonyWrappingKeys() *cobra.Command {
	return &cobra.Command{Use: "wrapping-keys", Short: "list the keys that wrap seal keys: their tokens, how full they are, what has still to move", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return look(s, cmd, "/v1/wrapping-keys", func(w io.Writer, a wrappingKeysAnswer) {
				fmt.Fprintln(w, "KEY\tTOKENS\tBORN\tLIMIT\tSTATE")
				for _, k := range a.WrappingKeys {
					fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", k.ID, strings.Join(k.Tokens, " "), k.Born, k.Limit, wrappingState(k))
				}
			})
		}}
}

func wrappingState(k keystore.KEKState) string {
	s := keyState(keystore.Listed{Retired: k.Retired, Destroyed: k.Destroyed})
	if k.Retired == nil || k.Destroyed != nil {
		return s
	}
	if s += fmt.Sprintf(", %d keys to move", k.Left); k.Failed > 0 {
		s += fmt.Sprintf(", %d do not", k.Failed)
	}
	return s
}

func keyState(k keystore.Listed) string {
	switch {
	case k.Destroyed != nil:
		return "destroyed " + when(*k.Destroyed)
	case k.Retired != nil:
		return "retired " + when(*k.Retired)
	}
	return "in use"
}

// spkiOf is the public half of a certificate's key, as clients are known by it.
func spkiOf(der []byte) ([]byte, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading your certificate: %w", err)
	}
	return c.RawSubjectPublicKeyInfo, nil
}
