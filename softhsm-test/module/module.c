/*
 * The function table: SoftHSM2's, with the calls that may concern an SM2 key
 * replaced. C_GetFunctionList is the only exported symbol.
 */
#include "module.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_LIBRARY "/usr/lib/softhsm/libsofthsm2.so"

CK_FUNCTION_LIST_PTR inner;

static CK_FUNCTION_LIST table;
static pthread_once_t load_once = PTHREAD_ONCE_INIT;

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

/* Handles start again at 1, so nothing known of the old ones may live on. */
static void forget_everything(void)
{
	cache_clear();
	ops_clear();
	find_clear();
}

static CK_RV sk_initialize(void *args)
{
	CK_RV rv = inner->C_Initialize(args);

	if (rv == CKR_OK)
		forget_everything();
	return rv;
}

static CK_RV sk_finalize(void *reserved)
{
	CK_RV rv = inner->C_Finalize(reserved);

	if (rv == CKR_OK)
		forget_everything();
	return rv;
}

static CK_RV sk_close_session(CK_SESSION_HANDLE session)
{
	CK_RV rv = inner->C_CloseSession(session);

	if (rv == CKR_OK) {
		ops_drop_session(session);
		find_drop(session);
	}
	return rv;
}

static CK_RV sk_close_all_sessions(CK_SLOT_ID slot)
{
	CK_RV rv = inner->C_CloseAllSessions(slot);

	if (rv == CKR_OK) {
		cache_clear();
		ops_drop_dead();
		find_drop_dead();
	}
	return rv;
}

static CK_RV sk_logout(CK_SESSION_HANDLE session)
{
	CK_SESSION_INFO info;
	bool known = inner->C_GetSessionInfo(session, &info) == CKR_OK;
	CK_RV rv = inner->C_Logout(session);

	if (rv == CKR_OK) {
		cache_clear();
		if (known)
			ops_drop_signing(info.slotID);
	}
	return rv;
}

static void replace(CK_FUNCTION_LIST *t)
{
	t->C_GetFunctionList = C_GetFunctionList;
	t->C_Initialize = sk_initialize;
	t->C_Finalize = sk_finalize;
	t->C_GetInfo = sk_get_info;
	t->C_GetTokenInfo = sk_get_token_info;
	t->C_GetMechanismList = sk_get_mechanism_list;
	t->C_GetMechanismInfo = sk_get_mechanism_info;
	t->C_CloseSession = sk_close_session;
	t->C_CloseAllSessions = sk_close_all_sessions;
	t->C_Logout = sk_logout;
	t->C_CreateObject = sk_create_object;
	t->C_CopyObject = sk_copy_object;
	t->C_DestroyObject = sk_destroy_object;
	t->C_GetAttributeValue = sk_get_attribute_value;
	t->C_SetAttributeValue = sk_set_attribute_value;
	t->C_FindObjectsInit = sk_find_objects_init;
	t->C_FindObjects = sk_find_objects;
	t->C_FindObjectsFinal = sk_find_objects_final;
	t->C_DigestInit = sk_digest_init;
	t->C_EncryptInit = sk_encrypt_init;
	t->C_DecryptInit = sk_decrypt_init;
	t->C_SignInit = sk_sign_init;
	t->C_Sign = sk_sign;
	t->C_SignUpdate = sk_sign_update;
	t->C_SignFinal = sk_sign_final;
	t->C_VerifyInit = sk_verify_init;
	t->C_Verify = sk_verify;
	t->C_VerifyUpdate = sk_verify_update;
	t->C_VerifyFinal = sk_verify_final;
	t->C_GenerateKeyPair = sk_generate_key_pair;
	t->C_WrapKey = sk_wrap_key;
	t->C_UnwrapKey = sk_unwrap_key;
	t->C_DeriveKey = sk_derive_key;
}

static void load(void)
{
	const char *path = getenv("SOFTHSM2_LIB");
	CK_C_GetFunctionList get;
	CK_FUNCTION_LIST_PTR list = NULL;
	void *library;

	if (path == NULL || *path == '\0')
		path = DEFAULT_LIBRARY;
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL) {
		fprintf(stderr, "libsealkeeper-sm2: loading SoftHSM2: %s\n", dlerror());
		return;
	}
	get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
	if (get == NULL || get == C_GetFunctionList || get(&list) != CKR_OK || list == NULL) {
		fprintf(stderr, "libsealkeeper-sm2: %s gives no PKCS#11 function list\n", path);
		return;
	}
	table = *list;
	replace(&table);
	inner = list;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
	if (list == NULL)
		return CKR_ARGUMENTS_BAD;
	pthread_once(&load_once, load);
	if (inner == NULL)
		return CKR_GENERAL_ERROR;
	*list = &table;
	return CKR_OK;
}
