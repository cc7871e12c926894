// Package bare is an open token without guard rails, which package hsm hands to the packages below it.
//
// Being internal is its promise: nothing outside hsm can name these types, so handles and CKR codes still never leave the subtree. Limits: whoever
// holds a Token must not log in, log out, finalise, or close sessions that are not its own.
package bare

import "github.com/miekg/pkcs11"

// Token is a logged-in token. It is valid until the function that received it returns.
type Token struct {
	Ctx   *pkcs11.Ctx
	Slot  uint
	Login pkcs11.SessionHandle // read-write, held open: closing the last session would log out

	// What the appliance asks of its own keys: the private and public half of a signing pair, and a secret key.
	Private, Public, Secret []Flag
}

// Flag is a yes-or-no attribute of a key.
type Flag struct {
	Name  string // CKA_ name
	Kind  uint
	Value bool
	Asked bool // stands in the template; otherwise only the token says it
	Must  bool // must read back as Value, or be excused by the profile
}
