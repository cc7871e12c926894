/*
 * The calls. Each asks the script first; what the script leaves alone goes on
 * to the module underneath.
 */
#include "fault.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void wait_ms(unsigned long ms)
{
	struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) != 0)
		;
}

static void close_all(const struct call *c)
{
	CK_SESSION_INFO info;

	inside_alone();
	if (c->about == ABOUT_SLOT)
		inner->C_CloseAllSessions(c->handle);
	else if (inner->C_GetSessionInfo(c->handle, &info) == CKR_OK)
		inner->C_CloseAllSessions(info.slotID);
	inside_leave();
}

/* Closes the session of a call, or logs it out. */
static void end_session(const struct call *c, CK_RV (*how)(CK_SESSION_HANDLE))
{
	if (c->about != ABOUT_SESSION)
		return;
	inside_alone();
	how(c->handle);
	inside_leave();
}

static CK_RV absent(const struct call *c)
{
	return c->about == ABOUT_SESSION ? CKR_DEVICE_REMOVED : CKR_TOKEN_NOT_PRESENT;
}

/* Sessions may be closed when the token is gone. */
static bool closing(const char *name)
{
	return strcmp(name, "C_CloseSession") == 0 || strcmp(name, "C_CloseAllSessions") == 0;
}

/* Before the call: true when it is answered here, with *rv. */
static bool before(const struct call *c, struct rule *r, CK_RV *rv)
{
	memset(r, 0, sizeof(*r));
	if (!script_strike(c, r))
		return false;
	if (r->action != ACTION_ABSENT && r->action != ACTION_SERIAL)
		script_log("strike %s", c->name);
	switch (r->action) {
	case ACTION_RETURN:
		*rv = r->value;
		return true;
	case ACTION_ABSENT:
		*rv = absent(c);
		return c->about != ABOUT_LIBRARY && !closing(c->name);
	case ACTION_CLOSE_SESSION:
		end_session(c, inner->C_CloseSession);
		return false;
	case ACTION_CLOSE_ALL:
		close_all(c);
		return false;
	case ACTION_LOGOUT:
		end_session(c, inner->C_Logout);
		return false;
	case ACTION_DELAY:
		wait_ms(r->value);
		return false;
	case ACTION_HANG:
		script_wait_change();
		return false;
	case ACTION_CRASH:
		raise(SIGSEGV);
		abort();
	default:
		return false;
	}
}

/* After the call: what it answers. */
static CK_RV after(const struct rule *r, CK_RV rv)
{
	return r->action == ACTION_AFTER ? r->value : rv;
}

#define WRAP(kind, name, params, handle, args)                                                                         \
	static CK_RV f_##name params                                                                                   \
	{                                                                                                              \
		struct call c = { #name, kind, handle };                                                               \
		struct rule r;                                                                                         \
		CK_RV rv;                                                                                              \
                                                                                                                       \
		if (before(&c, &r, &rv))                                                                               \
			return rv;                                                                                     \
		inside_shared();                                                                                       \
		rv = inner->name args;                                                                                 \
		inside_leave();                                                                                        \
		return after(&r, rv);                                                                                  \
	}
#define LIBRARY(name, params, args) WRAP(ABOUT_LIBRARY, name, params, 0, args)
#define SLOT(name, params, args) WRAP(ABOUT_SLOT, name, params, h, args)
#define SESSION(name, params, args) WRAP(ABOUT_SESSION, name, params, h, args)

/* Shapes that many calls share. */
#define S_END(name) SESSION(name, (CK_SESSION_HANDLE h), (h))
#define S_INIT(name) SESSION(name, (CK_SESSION_HANDLE h, CK_MECHANISM_PTR a, CK_OBJECT_HANDLE b), (h, a, b))
#define S_IN(name) SESSION(name, (CK_SESSION_HANDLE h, CK_BYTE_PTR a, CK_ULONG b), (h, a, b))
#define S_OUT(name) SESSION(name, (CK_SESSION_HANDLE h, CK_BYTE_PTR a, CK_ULONG_PTR b), (h, a, b))
#define S_BOTH(name)                                                                                                   \
	SESSION(name, (CK_SESSION_HANDLE h, CK_BYTE_PTR a, CK_ULONG b, CK_BYTE_PTR d, CK_ULONG_PTR e), (h, a, b, d, e))
#define S_CHECK(name)                                                                                                  \
	SESSION(name, (CK_SESSION_HANDLE h, CK_BYTE_PTR a, CK_ULONG b, CK_BYTE_PTR d, CK_ULONG e), (h, a, b, d, e))
#define S_ATTRIBUTES(name)                                                                                             \
	SESSION(name, (CK_SESSION_HANDLE h, CK_OBJECT_HANDLE a, CK_ATTRIBUTE_PTR b, CK_ULONG d), (h, a, b, d))

LIBRARY(C_Initialize, (void *a), (a))
LIBRARY(C_Finalize, (void *a), (a))
LIBRARY(C_GetInfo, (CK_INFO_PTR a), (a))
SLOT(C_GetSlotInfo, (CK_SLOT_ID h, CK_SLOT_INFO_PTR a), (h, a))
SLOT(C_GetMechanismList, (CK_SLOT_ID h, CK_MECHANISM_TYPE_PTR a, CK_ULONG_PTR b), (h, a, b))
SLOT(C_GetMechanismInfo, (CK_SLOT_ID h, CK_MECHANISM_TYPE a, CK_MECHANISM_INFO_PTR b), (h, a, b))
SLOT(C_OpenSession, (CK_SLOT_ID h, CK_FLAGS a, void *b, CK_NOTIFY d, CK_SESSION_HANDLE_PTR e), (h, a, b, d, e))
S_END(C_CloseSession)
SLOT(C_CloseAllSessions, (CK_SLOT_ID h), (h))
SESSION(C_GetSessionInfo, (CK_SESSION_HANDLE h, CK_SESSION_INFO_PTR a), (h, a))
S_END(C_Logout)
SESSION(C_CreateObject, (CK_SESSION_HANDLE h, CK_ATTRIBUTE_PTR a, CK_ULONG b, CK_OBJECT_HANDLE_PTR d), (h, a, b, d))
SESSION(C_CopyObject, (CK_SESSION_HANDLE h, CK_OBJECT_HANDLE a, CK_ATTRIBUTE_PTR b, CK_ULONG d, CK_OBJECT_HANDLE_PTR e),
	(h, a, b, d, e))
SESSION(C_DestroyObject, (CK_SESSION_HANDLE h, CK_OBJECT_HANDLE a), (h, a))
S_ATTRIBUTES(C_GetAttributeValue)
S_ATTRIBUTES(C_SetAttributeValue)
SESSION(C_FindObjectsInit, (CK_SESSION_HANDLE h, CK_ATTRIBUTE_PTR a, CK_ULONG b), (h, a, b))
SESSION(C_FindObjects, (CK_SESSION_HANDLE h, CK_OBJECT_HANDLE_PTR a, CK_ULONG b, CK_ULONG_PTR d), (h, a, b, d))
S_END(C_FindObjectsFinal)
S_INIT(C_EncryptInit)
S_BOTH(C_Encrypt)
S_BOTH(C_EncryptUpdate)
S_OUT(C_EncryptFinal)
S_INIT(C_DecryptInit)
S_BOTH(C_Decrypt)
S_BOTH(C_DecryptUpdate)
S_OUT(C_DecryptFinal)
SESSION(C_DigestInit, (CK_SESSION_HANDLE h, CK_MECHANISM_PTR a), (h, a))
S_BOTH(C_Digest)
S_IN(C_DigestUpdate)
S_OUT(C_DigestFinal)
S_INIT(C_SignInit)
S_IN(C_SignUpdate)
S_INIT(C_VerifyInit)
S_CHECK(C_Verify)
S_IN(C_VerifyUpdate)
S_IN(C_VerifyFinal)
SESSION(C_GenerateKey, (CK_SESSION_HANDLE h, CK_MECHANISM_PTR a, CK_ATTRIBUTE_PTR b, CK_ULONG d, CK_OBJECT_HANDLE_PTR e),
	(h, a, b, d, e))
SESSION(C_GenerateKeyPair,
	(CK_SESSION_HANDLE h, CK_MECHANISM_PTR a, CK_ATTRIBUTE_PTR b, CK_ULONG d, CK_ATTRIBUTE_PTR e, CK_ULONG f,
		CK_OBJECT_HANDLE_PTR g, CK_OBJECT_HANDLE_PTR i),
	(h, a, b, d, e, f, g, i))
SESSION(C_WrapKey,
	(CK_SESSION_HANDLE h, CK_MECHANISM_PTR a, CK_OBJECT_HANDLE b, CK_OBJECT_HANDLE d, CK_BYTE_PTR e, CK_ULONG_PTR f),
	(h, a, b, d, e, f))
SESSION(C_UnwrapKey,
	(CK_SESSION_HANDLE h, CK_MECHANISM_PTR a, CK_OBJECT_HANDLE b, CK_BYTE_PTR d, CK_ULONG e, CK_ATTRIBUTE_PTR f, CK_ULONG g,
		CK_OBJECT_HANDLE_PTR i),
	(h, a, b, d, e, f, g, i))
S_IN(C_GenerateRandom)

/* The calls with more to them. */

/* Every try of a PIN is on the log, struck or not. */
static CK_RV f_C_Login(CK_SESSION_HANDLE h, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG len)
{
	struct call c = { "C_Login", ABOUT_SESSION, h };
	struct rule r;
	CK_RV rv;

	script_log("login begins");
	if (!before(&c, &r, &rv)) {
		if (r.action == ACTION_TYPED && pin == NULL) {
			pin = (CK_UTF8CHAR_PTR)r.serial;
			len = strlen(r.serial);
		}
		inside_shared();
		rv = after(&r, inner->C_Login(h, user, pin, len));
		inside_leave();
	}
	script_log("login 0x%08lx", rv);
	return rv;
}

/* A call that asks for the length is no signature: no rule sees it. */
static CK_RV f_C_Sign(CK_SESSION_HANDLE h, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR sig, CK_ULONG_PTR sig_len)
{
	struct call c = { "C_Sign", ABOUT_SESSION, h };
	struct rule r = { .action = ACTION_NONE };
	CK_RV rv;

	if (sig != NULL && before(&c, &r, &rv))
		return rv;
	inside_shared();
	rv = inner->C_Sign(h, data, len, sig, sig_len);
	inside_leave();
	if (rv == CKR_OK && r.action == ACTION_CORRUPT && *sig_len > 0)
		sig[*sig_len - 1] ^= 1;
	return after(&r, rv);
}

static CK_RV f_C_SignFinal(CK_SESSION_HANDLE h, CK_BYTE_PTR sig, CK_ULONG_PTR sig_len)
{
	struct call c = { "C_SignFinal", ABOUT_SESSION, h };
	struct rule r = { .action = ACTION_NONE };
	CK_RV rv;

	if (sig != NULL && before(&c, &r, &rv))
		return rv;
	inside_shared();
	rv = inner->C_SignFinal(h, sig, sig_len);
	inside_leave();
	if (rv == CKR_OK && r.action == ACTION_CORRUPT && *sig_len > 0)
		sig[*sig_len - 1] ^= 1;
	return after(&r, rv);
}

static CK_RV f_C_GetTokenInfo(CK_SLOT_ID h, CK_TOKEN_INFO_PTR info)
{
	struct call c = { "C_GetTokenInfo", ABOUT_SLOT, h };
	struct rule r;
	CK_RV rv;

	if (before(&c, &r, &rv))
		return rv;
	inside_shared();
	rv = inner->C_GetTokenInfo(h, info);
	inside_leave();
	if (rv != CKR_OK)
		return rv;
	if (r.action == ACTION_FLAGS)
		info->flags |= r.value;
	if (r.action == ACTION_SERIAL) {
		memset(info->serialNumber, ' ', SERIAL_LEN);
		memcpy(info->serialNumber, r.serial, strlen(r.serial));
	}
	return rv;
}

/* Slots whose token is absent are left out where only present tokens are asked for. */
static CK_RV f_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR count)
{
	struct call c = { "C_GetSlotList", ABOUT_LIBRARY, 0 };
	CK_SLOT_ID all[64];
	CK_ULONG n = sizeof(all) / sizeof(all[0]), kept = 0;
	struct rule r;
	CK_RV rv;

	if (before(&c, &r, &rv))
		return rv;
	if (count == NULL)
		return CKR_ARGUMENTS_BAD;
	inside_shared();
	rv = inner->C_GetSlotList(present, NULL, &n); /* some modules look for new tokens only here */
	n = sizeof(all) / sizeof(all[0]);
	if (rv == CKR_OK)
		rv = inner->C_GetSlotList(present, all, &n);
	inside_leave();
	if (rv != CKR_OK)
		return rv;
	for (CK_ULONG i = 0; i < n; i++)
		if (!present || !script_absent(all[i]))
			all[kept++] = all[i];
	if (list != NULL && *count < kept)
		rv = CKR_BUFFER_TOO_SMALL;
	else if (list != NULL)
		memcpy(list, all, kept * sizeof(all[0]));
	*count = kept;
	return rv;
}

#define SET(name) t->name = f_##name

/* What is not replaced (C_InitToken, PIN changes, combined operations) goes straight through. */
void calls_replace(CK_FUNCTION_LIST *t)
{
	t->C_GetFunctionList = C_GetFunctionList;
	SET(C_Initialize), SET(C_Finalize), SET(C_GetInfo), SET(C_GetSlotList), SET(C_GetSlotInfo), SET(C_GetTokenInfo);
	SET(C_GetMechanismList), SET(C_GetMechanismInfo), SET(C_OpenSession), SET(C_CloseSession), SET(C_CloseAllSessions);
	SET(C_GetSessionInfo), SET(C_Login), SET(C_Logout), SET(C_CreateObject), SET(C_CopyObject), SET(C_DestroyObject);
	SET(C_GetAttributeValue), SET(C_SetAttributeValue), SET(C_FindObjectsInit), SET(C_FindObjects);
	SET(C_FindObjectsFinal), SET(C_EncryptInit), SET(C_Encrypt), SET(C_EncryptUpdate), SET(C_EncryptFinal);
	SET(C_DecryptInit), SET(C_Decrypt), SET(C_DecryptUpdate), SET(C_DecryptFinal), SET(C_DigestInit), SET(C_Digest);
	SET(C_DigestUpdate), SET(C_DigestFinal), SET(C_SignInit), SET(C_Sign), SET(C_SignUpdate), SET(C_SignFinal);
	SET(C_VerifyInit), SET(C_Verify), SET(C_VerifyUpdate), SET(C_VerifyFinal), SET(C_GenerateKey);
	SET(C_GenerateKeyPair), SET(C_WrapKey), SET(C_UnwrapKey), SET(C_GenerateRandom);
}
