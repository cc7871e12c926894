// Package softhsmtest makes throw-away PKCS#11 tokens for tests and the demo.
//
// Its one promise: New(t) gives a real token, initialised, with its PIN in a
// file of mode 0400, on a RAM disk where there is one, removed when the test
// ends. The keys are held by Debian's SoftHSM2; SM2 is added by the C module in
// the module folder, which calls itself a simulator wherever it is asked.
//
// Limits. The module protects the interface, not the secret: whoever has the
// PIN and loads SoftHSM2 directly reads the keys. SoftHSM2 reads SOFTHSM2_CONF
// when it is initialised, so one process has one configuration and one token
// directory: all tokens of New in a test binary live side by side in it, chosen
// by label or serial. A library that is already initialised does not see tokens
// made later; make every token a test needs before the module is opened.
package softhsmtest
