// Command interop holds Sealkeeper's documents against other people's programs: ofdrw and, through it, Bouncy Castle judge what Sealkeeper
// made, Sealkeeper judges what they made, and both seal the same page for the processor time it takes.
//
//	go run ./softhsm-test/interop [-dir build/interop] [-rounds 200]
//
// It needs a JDK and Maven with its repository; where they are missing it says SKIPPED aloud and ends well, since nothing of the product
// depends on it. Keys are software keys of this run. Limits: ofdrw 2.0.2, whose verifier looks at no chain, list, validity or revocation.
package main
