package doctor

// Result of a check.
type Result string

// The results. A skipped check was not made, because an earlier one failed or the configuration leaves its subject out.
const (
	OK   Result = "ok"
	Warn Result = "warn"
	Fail Result = "fail"
	Skip Result = "skip"
)

// Check is one numbered check. Numbers and names are stable; new ones may be added at the end.
type Check struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	Result Result `json:"result"`
	Detail string `json:"detail"`
	Mend   string `json:"mend,omitempty"` // the command that mends it, or that comes next
}

// Report is all checks in order.
type Report struct {
	Module   string  `json:"module"`
	Label    string  `json:"label,omitempty"`
	Serial   string  `json:"serial,omitempty"`
	Profile  string  `json:"profile,omitempty"`
	PINTries string  `json:"pin_tries_left,omitempty"`
	Verdict  Result  `json:"verdict"` // the worst of the checks; skipped ones do not count
	Checks   []Check `json:"checks"`
}

// verdict is the worst result.
func (r *Report) verdict() Result {
	worst := OK
	for _, c := range r.Checks {
		if c.Result == Fail {
			return Fail
		}
		if c.Result == Warn {
			worst = Warn
		}
	}
	return worst
}
