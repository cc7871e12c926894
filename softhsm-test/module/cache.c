/*
 * What is known of an object handle: its kind and, once used, its decoded key.
 *
 * A direct-mapped table: SoftHSM2 gives handles in sequence and never reuses
 * one before C_Finalize, so a collision only costs a second look. Entries made
 * under an older epoch are discarded, because after C_Finalize handles start
 * again at 1. Nothing here is a permission: every use of a key passes
 * SoftHSM2's own check first.
 */
#include "module.h"

#include <openssl/crypto.h>

#include <pthread.h>
#include <string.h>

#define SLOTS 16384
#define STRIPES 64

struct entry {
	CK_OBJECT_HANDLE object;
	enum object_kind kind;
	struct sm2_key *key;
};

static struct entry entries[SLOTS];
static pthread_mutex_t stripes[STRIPES] = {[0 ... STRIPES - 1] = PTHREAD_MUTEX_INITIALIZER};
static _Atomic uint64_t epoch;

static struct entry *lock_entry(CK_OBJECT_HANDLE object)
{
	pthread_mutex_lock(&stripes[object % STRIPES]);
	return &entries[object % SLOTS];
}

static void unlock_entry(CK_OBJECT_HANDLE object)
{
	pthread_mutex_unlock(&stripes[object % STRIPES]);
}

static void empty(struct entry *e)
{
	sm2_key_unref(e->key);
	memset(e, 0, sizeof *e);
}

static uint64_t now(void)
{
	return atomic_load(&epoch);
}

void cache_forget(CK_OBJECT_HANDLE object)
{
	struct entry *e = lock_entry(object);

	if (e->object == object)
		empty(e);
	unlock_entry(object);
}

void cache_clear(void)
{
	/* First the epoch: a thread that read under the old one stores nothing. */
	atomic_fetch_add(&epoch, 1);
	for (size_t s = 0; s < STRIPES; s++) {
		pthread_mutex_lock(&stripes[s]);
		for (size_t i = s; i < SLOTS; i += STRIPES)
			empty(&entries[i]);
		pthread_mutex_unlock(&stripes[s]);
	}
}

/* Stores what was learnt in the epoch given; takes over a reference to key. */
static void store(uint64_t seen, CK_OBJECT_HANDLE object, enum object_kind kind, struct sm2_key *key)
{
	struct entry *e = lock_entry(object);

	if (seen != now()) {
		sm2_key_unref(key);
	} else {
		empty(e);
		*e = (struct entry){.object = object, .kind = kind, .key = key};
	}
	unlock_entry(object);
}

/* Asks SoftHSM2 once what an object is. */
static enum object_kind ask_kind(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	CK_OBJECT_CLASS class = CK_UNAVAILABLE_INFORMATION;
	CK_KEY_TYPE type = CK_UNAVAILABLE_INFORMATION;
	CK_BYTE params[128];
	CK_ATTRIBUTE list[] = {
		{CKA_CLASS, &class, sizeof class},
		{CKA_KEY_TYPE, &type, sizeof type},
		{CKA_EC_PARAMS, params, sizeof params},
	};
	CK_RV rv = inner->C_GetAttributeValue(session, object, list, 3);

	/* An object without a key type or a curve still answers its class. */
	if (rv != CKR_OK && rv != CKR_ATTRIBUTE_TYPE_INVALID && rv != CKR_BUFFER_TOO_SMALL)
		return OBJECT_UNKNOWN;
	if (list[1].ulValueLen != sizeof type || type != CKK_EC || list[2].ulValueLen != SM2_PARAMS_LEN ||
	    memcmp(params, sm2_params, SM2_PARAMS_LEN) != 0)
		return OBJECT_OTHER;
	if (class == CKO_PRIVATE_KEY)
		return OBJECT_SM2_PRIVATE;
	return class == CKO_PUBLIC_KEY ? OBJECT_SM2_PUBLIC : OBJECT_OTHER;
}

/* OBJECT_UNKNOWN means SoftHSM2 refused to say; the caller passes its call on. */
enum object_kind object_kind(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	uint64_t seen = now();
	struct entry *e = lock_entry(object);
	enum object_kind kind = e->object == object ? e->kind : OBJECT_UNKNOWN;

	unlock_entry(object);
	if (kind != OBJECT_UNKNOWN)
		return kind;
	kind = ask_kind(session, object);
	if (kind != OBJECT_UNKNOWN)
		store(seen, object, kind, NULL);
	return kind;
}

static struct sm2_key *read_key(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, enum object_kind kind)
{
	bool private = kind == OBJECT_SM2_PRIVATE;
	CK_BYTE value[SM2_POINT + 2];
	CK_ATTRIBUTE attr = {private ? CKA_VALUE : CKA_EC_POINT, value, sizeof value};
	struct sm2_key *key;

	if (inner->C_GetAttributeValue(session, object, &attr, 1) != CKR_OK)
		return NULL;
	key = private ? sm2_key_private(value, attr.ulValueLen) : sm2_key_public(value, attr.ulValueLen);
	OPENSSL_cleanse(value, sizeof value);
	return key;
}

/* Notes the key's CKA_ALLOWED_MECHANISMS without the CKM_ECDSA kept for SoftHSM2. */
static bool read_allowed(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, struct sm2_key *key)
{
	CK_MECHANISM_TYPE list[SM2_ALLOWED_MAX + 1];
	CK_ATTRIBUTE attr = {CKA_ALLOWED_MECHANISMS, list, sizeof list};
	CK_RV rv = inner->C_GetAttributeValue(session, object, &attr, 1);

	if (rv == CKR_ATTRIBUTE_TYPE_INVALID)
		return true;
	if (rv != CKR_OK)
		return false;
	for (CK_ULONG i = 0; i < attr.ulValueLen / sizeof list[0]; i++)
		if (list[i] != CKM_ECDSA && key->allowed_count < SM2_ALLOWED_MAX)
			key->allowed[key->allowed_count++] = list[i];
	return true;
}

/*
 * Gives the decoded key with a reference for the caller. A key whose value
 * SoftHSM2 keeps back (one made without this module) cannot be used.
 */
CK_RV object_key(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, enum object_kind kind, struct sm2_key **key)
{
	uint64_t seen = now();
	struct entry *e = lock_entry(object);

	*key = e->object == object && e->key != NULL ? sm2_key_ref(e->key) : NULL;
	unlock_entry(object);
	if (*key != NULL)
		return CKR_OK;
	*key = read_key(session, object, kind);
	if (*key == NULL)
		return CKR_KEY_FUNCTION_NOT_PERMITTED;
	if (!read_allowed(session, object, *key)) {
		sm2_key_unref(*key);
		*key = NULL;
		return CKR_FUNCTION_FAILED;
	}
	store(seen, object, kind, sm2_key_ref(*key));
	return CKR_OK;
}
