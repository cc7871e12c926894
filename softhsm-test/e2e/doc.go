// Package e2e holds the tests whose subject is the whole appliance: the real binaries, a real token, HTTPS.
//
// Its promise is that nothing of the appliance runs inside the test: seald and sealctl are processes, and what the tests know they learn over
// the API, from the store file of a stopped daemon, or from the token itself.
//
// The systems outside (registration, public security, the licence system, the owner's phone) are played by the simulators' packages with the
// keys that sealsim made, because the tests need messages that no honest system sends.
package e2e
