// Package worker runs a PKCS#11 module in a child process of the same binary.
//
// Its one promise: whatever the module does, crash, hang or trample over memory, this process goes on. A call that was inside ends with
// hsm.ErrInterrupted, the child is killed, and the next call has a new one. Token has the methods of keystore.Token and the errors of package hsm.
//
//	Token ──frames on a socket pair──► child: hsm.Module, PIN, sessions
//	  │ watch: the oldest call inside grew older than Hang, or no answer at all ─► SIGKILL
//	  └ the socket ends ─► pending calls get hsm.ErrInterrupted ─► next call starts a child
//
// The parent never loads the module. It reads the PIN when it starts a child, hands it over the socket pair once and clears it; what it keeps is a keyed
// digest, to tell whether the file still holds the PIN that was good. The child cannot be dumped or traced by its user, writes no core, starts nothing
// and dies with its parent.
//
// Limits: the child runs as the same user, so this is a wall against faults, not against a malicious library. A hang shorter than Hang costs
// what it costs in package hsm. Opening may take three times Hang.
package worker
