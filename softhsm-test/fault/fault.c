/*
 * Loads the module underneath. C_GetFunctionList is the only exported symbol.
 */
#include "fault.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

CK_FUNCTION_LIST_PTR inner;

static CK_FUNCTION_LIST table;
static pthread_once_t load_once = PTHREAD_ONCE_INIT;

static pthread_rwlock_t inside = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

void inside_shared(void)
{
	pthread_rwlock_rdlock(&inside);
}

void inside_alone(void)
{
	pthread_rwlock_wrlock(&inside);
}

void inside_leave(void)
{
	pthread_rwlock_unlock(&inside);
}

static void load(void)
{
	const char *path = getenv("SEALKEEPER_FAULT_MODULE");
	CK_C_GetFunctionList get;
	CK_FUNCTION_LIST_PTR list = NULL;
	void *library;

	if (path == NULL || *path == '\0') {
		fprintf(stderr, "sealkeeper-fault: SEALKEEPER_FAULT_MODULE names no module\n");
		return;
	}
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL) {
		fprintf(stderr, "sealkeeper-fault: %s\n", dlerror());
		return;
	}
	get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
	if (get == NULL || get == C_GetFunctionList || get(&list) != CKR_OK || list == NULL) {
		fprintf(stderr, "sealkeeper-fault: %s gives no PKCS#11 function list\n", path);
		return;
	}
	table = *list;
	calls_replace(&table);
	inner = list;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
	if (list == NULL)
		return CKR_ARGUMENTS_BAD;
	pthread_once(&load_once, load);
	if (inner == NULL)
		return CKR_GENERAL_ERROR;
	*list = &table;
	return CKR_OK;
}
