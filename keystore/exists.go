package keystore

import "sealkeeper/hsm"

// ErrKeyExists: the token holds a key of that label already; it is hsm.ErrExists under the name that higher floors may say.
var ErrKeyExists = hsm.ErrExists
