package hsm

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

// Loads the library as miekg/pkcs11 will and asks for its list of functions; a text says what is wrong, NULL nothing. The library stays loaded.
static const char *loads(const char *path) {
	void *lib = dlopen(path, RTLD_LAZY);
	if (lib == NULL)
		return dlerror();
	unsigned long (*get)(void **) = (unsigned long (*)(void **))dlsym(lib, "C_GetFunctionList");
	if (get == NULL)
		return "it has no C_GetFunctionList";
	void *list = NULL;
	if (get(&list) != 0 || list == NULL)
		return "C_GetFunctionList gives no list";
	return NULL;
}
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// loads makes sure that a library gives its list of functions. The binding does not look, and its first call would go through a null pointer.
func loads(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if wrong := C.loads(name); wrong != nil {
		return fmt.Errorf("loading %s: not a PKCS#11 module: %s: %w", path, C.GoString(wrong), ErrConfig)
	}
	return nil
}
