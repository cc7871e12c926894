package doctor

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

// What CK_FUNCTION_LIST of PKCS#11 2.x looks like: a version and 68 pointers.
struct list { unsigned char major, minor; void *call[68]; };

// Loads the library and copies its list of functions; a text says what is wrong, NULL nothing. The library stays loaded, as it does for miekg/pkcs11.
static const char *read_list(const char *path, struct list *out) {
	void *lib = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	if (lib == NULL)
		return dlerror();
	unsigned long (*get)(struct list **) = (unsigned long (*)(struct list **))dlsym(lib, "C_GetFunctionList");
	if (get == NULL)
		return "it has no C_GetFunctionList";
	struct list *l = NULL;
	if (get(&l) != 0 || l == NULL)
		return "C_GetFunctionList gives no list";
	*out = *l;
	return NULL;
}
*/
import "C"

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"sealkeeper/hsm"
)

// calls are the functions of the list, in the standard's order.
var calls = strings.Fields(`Initialize Finalize GetInfo GetFunctionList GetSlotList GetSlotInfo GetTokenInfo GetMechanismList GetMechanismInfo InitToken InitPIN SetPIN
OpenSession CloseSession CloseAllSessions GetSessionInfo GetOperationState SetOperationState Login Logout CreateObject CopyObject DestroyObject GetObjectSize
GetAttributeValue SetAttributeValue FindObjectsInit FindObjects FindObjectsFinal EncryptInit Encrypt EncryptUpdate EncryptFinal DecryptInit Decrypt DecryptUpdate
DecryptFinal DigestInit Digest DigestUpdate DigestKey DigestFinal SignInit Sign SignUpdate SignFinal SignRecoverInit SignRecover VerifyInit Verify VerifyUpdate
VerifyFinal VerifyRecoverInit VerifyRecover DigestEncryptUpdate DecryptDigestUpdate SignEncryptUpdate DecryptVerifyUpdate GenerateKey GenerateKeyPair WrapKey
UnwrapKey DeriveKey SeedRandom GenerateRandom GetFunctionStatus CancelFunction WaitForSlotEvent`)

// called are those that package hsm, or crypto11 for it, calls: a missing one is a call to address zero.
var called = strings.Fields(`Initialize Finalize GetInfo GetSlotList GetSlotInfo GetTokenInfo GetMechanismList GetMechanismInfo OpenSession CloseSession GetSessionInfo Login
CreateObject DestroyObject GetAttributeValue SetAttributeValue FindObjectsInit FindObjects FindObjectsFinal EncryptInit Encrypt DecryptInit Decrypt SignInit Sign
GenerateKey GenerateKeyPair WrapKey UnwrapKey GenerateRandom`)

// missingFunctions loads a module that may be loaded and names what its list of functions leaves out of what is called.
func missingFunctions(path string) ([]string, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var l C.struct_list
	if wrong := C.read_list(name, &l); wrong != nil {
		return nil, fmt.Errorf("loading %s: %s: %w", path, C.GoString(wrong), hsm.ErrConfig)
	}
	var missing []string
	for i, call := range calls {
		if l.call[i] == nil && slices.Contains(called, call) {
			missing = append(missing, "C_"+call)
		}
	}
	return missing, nil
}
