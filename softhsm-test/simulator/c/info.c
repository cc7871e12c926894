/* What the device says of itself, its sessions and logins, and the mechanisms it does not have. */
#include "simulator.h"

#include <pthread.h>
#include <string.h>

bool listed(const struct list *l, CK_ULONG value)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->value[i] == value)
			return true;
	return false;
}

const struct sign_mechanism *sign_mechanism(CK_MECHANISM_TYPE type)
{
	for (size_t i = 0; i < device.sign_count; i++)
		if (device.sign[i].type == type)
			return &device.sign[i];
	return NULL;
}

/* PKCS#11 texts are filled up with blanks and have no terminating zero. */
static void fill(unsigned char *field, size_t size, const char *text)
{
	memset(field, ' ', size);
	memcpy(field, text, strlen(text));
}

static CK_RV get_info(CK_INFO_PTR info)
{
	CK_RV rv = behind->C_GetInfo(info);

	if (rv == CKR_OK) {
		fill(info->manufacturerID, sizeof info->manufacturerID, device.library_manufacturer);
		fill(info->libraryDescription, sizeof info->libraryDescription, device.library_description);
		info->libraryVersion = device.library_version;
	}
	return rv;
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
	CK_RV rv = behind->C_GetTokenInfo(slot, info);

	if (rv != CKR_OK)
		return rv;
	fill(info->manufacturerID, sizeof info->manufacturerID, device.token_manufacturer);
	fill(info->model, sizeof info->model, device.token_model);
	info->firmwareVersion = device.firmware;
	if (device.max_sessions > 0)
		info->ulMaxSessionCount = info->ulMaxRwSessionCount = device.max_sessions;
	return CKR_OK;
}

static size_t all_mechanisms(CK_MECHANISM_TYPE *out)
{
	size_t n = 0;

	if (device.key_pair_gen != 0)
		out[n++] = device.key_pair_gen;
	for (size_t i = 0; i < device.sign_count; i++)
		out[n++] = device.sign[i].type;
	for (size_t i = 0; i < device.standard.count; i++)
		out[n++] = device.standard.value[i];
	for (size_t i = 0; i < device.listed.count; i++)
		out[n++] = device.listed.value[i];
	return n;
}

static CK_RV get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count)
{
	CK_MECHANISM_TYPE all[3 * LIST_MAX + 1];
	size_t n = all_mechanisms(all);
	CK_ULONG ignored = 0, given;
	CK_RV rv;

	if (count == NULL)
		return CKR_ARGUMENTS_BAD;
	rv = behind->C_GetMechanismList(slot, NULL, &ignored); /* checks the slot */
	if (rv != CKR_OK)
		return rv;
	given = *count;
	*count = n;
	if (list == NULL)
		return CKR_OK;
	if (given < n)
		return CKR_BUFFER_TOO_SMALL;
	memcpy(list, all, n * sizeof all[0]);
	return CKR_OK;
}

static CK_RV get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info)
{
	bool generates = device.key_pair_gen != 0 && type == device.key_pair_gen, signs = sign_mechanism(type) != NULL;
	CK_RV rv;

	if (listed(&device.standard, type))
		return behind->C_GetMechanismInfo(slot, type, info);
	if (!generates && !signs && !listed(&device.listed, type))
		return CKR_MECHANISM_INVALID;
	rv = behind->C_GetMechanismInfo(slot, BEHIND_E, info); /* checks the slot */
	if (rv != CKR_OK)
		return rv;
	info->ulMinKeySize = info->ulMaxKeySize = FIELD * 8;
	info->flags = (generates ? CKF_GENERATE_KEY_PAIR : 0) | (signs ? CKF_SIGN : 0);
	return CKR_OK;
}

/* Sessions open now. A device has only so many. */
static pthread_mutex_t sessions_lock = PTHREAD_MUTEX_INITIALIZER;
static CK_ULONG sessions;

void sessions_forget(void)
{
	pthread_mutex_lock(&sessions_lock);
	sessions = 0;
	pthread_mutex_unlock(&sessions_lock);
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE_PTR session)
{
	CK_RV rv = CKR_SESSION_COUNT;

	pthread_mutex_lock(&sessions_lock);
	if (device.max_sessions == 0 || sessions < device.max_sessions)
		rv = behind->C_OpenSession(slot, flags, application, notify, session);
	if (rv == CKR_OK)
		sessions++;
	pthread_mutex_unlock(&sessions_lock);
	return rv;
}

static CK_RV close_session(CK_SESSION_HANDLE session)
{
	CK_RV rv = behind->C_CloseSession(session);

	if (rv == CKR_OK) {
		sign_drop(session);
		pthread_mutex_lock(&sessions_lock);
		if (sessions > 0)
			sessions--;
		pthread_mutex_unlock(&sessions_lock);
	}
	return rv;
}

static CK_RV close_all_sessions(CK_SLOT_ID slot)
{
	CK_RV rv = behind->C_CloseAllSessions(slot);

	if (rv == CKR_OK) {
		sign_clear();
		sessions_forget();
	}
	return rv;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG len)
{
	if (user != CKU_SO && user != device.user_type)
		return CKR_USER_TYPE_INVALID;
	return behind->C_Login(session, user == CKU_SO ? CKU_SO : CKU_USER, pin, len);
}

static bool passes(CK_MECHANISM_PTR mech)
{
	return mech == NULL || listed(&device.standard, mech->mechanism);
}

static CK_RV encrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key)
{
	return passes(mech) ? behind->C_EncryptInit(session, mech, key) : CKR_MECHANISM_INVALID;
}

static CK_RV decrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key)
{
	return passes(mech) ? behind->C_DecryptInit(session, mech, key) : CKR_MECHANISM_INVALID;
}

static CK_RV digest_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech)
{
	return passes(mech) ? behind->C_DigestInit(session, mech) : CKR_MECHANISM_INVALID;
}

static CK_RV verify_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key)
{
	return passes(mech) ? behind->C_VerifyInit(session, mech, key) : CKR_MECHANISM_INVALID;
}

static CK_RV wrap_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key,
	CK_BYTE_PTR out, CK_ULONG_PTR len)
{
	return passes(mech) ? behind->C_WrapKey(session, mech, kek, key, out, len) : CKR_MECHANISM_INVALID;
}

static CK_RV unwrap_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE kek, CK_BYTE_PTR blob, CK_ULONG len,
	CK_ATTRIBUTE_PTR list, CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
	return passes(mech) ? behind->C_UnwrapKey(session, mech, kek, blob, len, list, count, key) : CKR_MECHANISM_INVALID;
}

static CK_RV derive_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE base, CK_ATTRIBUTE_PTR list,
	CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
	return passes(mech) ? behind->C_DeriveKey(session, mech, base, list, count, key) : CKR_MECHANISM_INVALID;
}

void info_replace(CK_FUNCTION_LIST *t)
{
	t->C_GetInfo = get_info;
	t->C_GetTokenInfo = get_token_info;
	t->C_GetMechanismList = get_mechanism_list;
	t->C_GetMechanismInfo = get_mechanism_info;
	t->C_OpenSession = open_session;
	t->C_CloseSession = close_session;
	t->C_CloseAllSessions = close_all_sessions;
	t->C_Login = login;
	t->C_EncryptInit = encrypt_init;
	t->C_DecryptInit = decrypt_init;
	t->C_DigestInit = digest_init;
	t->C_VerifyInit = verify_init;
	t->C_WrapKey = wrap_key;
	t->C_UnwrapKey = unwrap_key;
	t->C_DeriveKey = derive_key;
}
