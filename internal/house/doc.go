// Package house holds the tests that keep the house standing: import walls, package comments, the laws' roll call and the acceptance
// table. It exports nothing and nothing imports it.
package house
