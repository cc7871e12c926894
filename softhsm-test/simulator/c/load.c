/* Reads what the device is and loads the module behind. C_GetFunctionList is the only exported symbol. */
#include "simulator.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

CK_FUNCTION_LIST_PTR behind;

static CK_FUNCTION_LIST table;
static pthread_once_t load_once = PTHREAD_ONCE_INIT;

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

static CK_RV initialize(void *args)
{
	CK_RV rv = behind->C_Initialize(args);

	if (rv == CKR_OK) {
		sign_clear();
		sessions_forget();
	}
	return rv;
}

static CK_RV finalize(void *reserved)
{
	CK_RV rv = behind->C_Finalize(reserved);

	if (rv == CKR_OK) {
		sign_clear();
		sessions_forget();
	}
	return rv;
}

static bool read_device(void)
{
	char path[1024], error[1536];
	Dl_info self;

	if (dladdr((void *)C_GetFunctionList, &self) == 0 || self.dli_fname == NULL ||
	    (size_t)snprintf(path, sizeof path, "%s.profile", self.dli_fname) >= sizeof path) {
		fprintf(stderr, "sealkeeper-simulator: the library does not know its own path\n");
		return false;
	}
	if (device_read(path, error, sizeof error))
		return true;
	fprintf(stderr, "sealkeeper-simulator: %s\n", error);
	return false;
}

static void load(void)
{
	CK_C_GetFunctionList get;
	CK_FUNCTION_LIST_PTR list = NULL;
	void *library;

	if (!read_device())
		return;
	library = dlopen(device.behind, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL) {
		fprintf(stderr, "sealkeeper-simulator: %s\n", dlerror());
		return;
	}
	get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
	if (get == NULL || get == C_GetFunctionList || get(&list) != CKR_OK || list == NULL) {
		fprintf(stderr, "sealkeeper-simulator: %s gives no PKCS#11 function list\n", device.behind);
		return;
	}
	table = *list;
	table.C_GetFunctionList = C_GetFunctionList;
	table.C_Initialize = initialize;
	table.C_Finalize = finalize;
	info_replace(&table);
	objects_replace(&table);
	sign_replace(&table);
	behind = list;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
	if (list == NULL)
		return CKR_ARGUMENTS_BAD;
	pthread_once(&load_once, load);
	if (behind == NULL)
		return CKR_GENERAL_ERROR;
	*list = &table;
	return CKR_OK;
}
