// Package access decides who may do what: clients known by their certificate's key, grants, the owner's approvals and delegations.
//
// It is called by signer and issuance, not by HTTP middleware alone, so that no caller walks around it. Its one promise: whatever is not
// granted is refused, and an approval covers exactly the bytes that were signed, once.
package access
