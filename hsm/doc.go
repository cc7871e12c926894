// Package hsm owns one PKCS#11 module: slot, login, session pool, epochs and mechanisms.
//
// It is the only importer of miekg/pkcs11 and crypto11, and its one promise is that handles, mechanism numbers and CKR codes never
// leave it: callers exchange the messages of message.go. What a device does differently comes from its firmware profile, never from
// a branch on a vendor (law 9).
//
// One library, one owner: crypto11 opens the module first, because it treats a module that somebody else initialised as fatal; the raw
// context attaches afterwards and never finalises. crypto11 signs with ECDSA and RSA keys. The raw context does what crypto11 cannot:
// SM2, templates, reading back, the login itself (crypto11 would log in without looking at the PIN flags and keep the PIN as a string
// for its whole life) and AES-GCM (crypto11's AEAD panics on a token error).
//
//	call ─► epoch ─► permit ─► session ─► C call ─► done
//	           ▲                              │ error
//	           └── one table of CKR codes ◄───┘   drop session | find again | new epoch | latch | refuse
//
// Sessions, login and object handles belong to one epoch and end together. A call repeats itself at most once per remedy.
//
// A wrapped key comes with the request that uses it (wrapping.go). It is opened as a session object of a session that does nothing else, kept for its next
// uses (opened.go), and never leaves the token but wrapped (wrap.go, ADR 0017).
//
// miekg's Sign asks for the length with a call of its own before the real one; on the test module and on SoftHSM2 that costs 1.4 to 1.7 of
// some 670 and 90 microseconds, so it is left as it is. A network device would pay a round trip.
//
// Limits: a C call cannot be interrupted. A caller whose context ends leaves; the session comes back when the call does. A module
// that hangs keeps its permit, and a new epoch waits for it. Package worker runs all this in a child process, which can be ended.
package hsm
