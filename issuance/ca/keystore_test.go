package ca

import "sealkeeper/keystore"

// A key in the token's custody is what the authorities take.
var _ Key = (*keystore.Key)(nil)
