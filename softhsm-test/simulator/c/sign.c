/*
 * Signing. The module behind signs e, or a message to which it adds Z; a device
 * that hashes without Z is made of SM3 here and e behind. The operation behind
 * lives as long as the one kept here.
 */
#include "simulator.h"

#include <openssl/evp.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX 64
#define FAULT_EVERY 32   /* der-lenient: one signature in so many meets the fault, instead of one in 256 */
#define FAULT_DRAWS 8192 /* and so many are drawn for it at the most */

struct op {
	struct op *next;
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE key;
	const struct sign_mechanism *mechanism;
	EVP_MD_CTX *digest; /* INPUT_NO_Z */
	unsigned char id[ID_MAX];
	CK_ULONG id_len;
	bool updated;
};

static struct op *ops;
static pthread_mutex_t ops_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_ulong signatures;

static void op_free(struct op *op)
{
	if (op == NULL)
		return;
	EVP_MD_CTX_free(op->digest);
	free(op);
}

static struct op *take(CK_SESSION_HANDLE session)
{
	struct op *found = NULL;

	pthread_mutex_lock(&ops_lock);
	for (struct op **p = &ops; *p != NULL; p = &(*p)->next) {
		if ((*p)->session == session) {
			found = *p;
			*p = found->next;
			break;
		}
	}
	pthread_mutex_unlock(&ops_lock);
	return found;
}

static void put(struct op *op)
{
	pthread_mutex_lock(&ops_lock);
	op->next = ops;
	ops = op;
	pthread_mutex_unlock(&ops_lock);
}

void sign_drop(CK_SESSION_HANDLE session)
{
	op_free(take(session));
}

void sign_clear(void)
{
	pthread_mutex_lock(&ops_lock);
	while (ops != NULL) {
		struct op *op = ops;

		ops = op->next;
		op_free(op);
	}
	pthread_mutex_unlock(&ops_lock);
}

static bool on_e(const struct op *op)
{
	return op->mechanism->input == INPUT_E32 || op->mechanism->input == INPUT_NO_Z;
}

static CK_RV start_behind(const struct op *op)
{
	CK_MECHANISM e = {BEHIND_E, NULL, 0}, message = {BEHIND_MESSAGE, op->id_len > 0 ? (void *)op->id : NULL, op->id_len};

	return behind->C_SignInit(op->session, on_e(op) ? &e : &message, op->key);
}

/* Ends the operation here and behind, where an update ends one on e and a final call one on a message. */
static CK_RV cancel(struct op *op, CK_RV rv)
{
	unsigned char unused[2 * FIELD] = {0};
	CK_ULONG len = sizeof unused;

	if (on_e(op))
		behind->C_SignUpdate(op->session, unused, 1);
	else
		behind->C_SignFinal(op->session, unused, &len);
	op_free(op);
	return rv;
}

static CK_RV prepare(struct op *op, CK_MECHANISM_PTR mech)
{
	bool wants_id = op->mechanism->input == INPUT_Z_PARAM;

	if (wants_id != (mech->ulParameterLen > 0) || mech->ulParameterLen > ID_MAX || (wants_id && mech->pParameter == NULL))
		return CKR_MECHANISM_PARAM_INVALID;
	if (wants_id) {
		memcpy(op->id, mech->pParameter, mech->ulParameterLen);
		op->id_len = mech->ulParameterLen;
	}
	if (op->mechanism->input != INPUT_NO_Z)
		return CKR_OK;
	op->digest = EVP_MD_CTX_new();
	return op->digest != NULL && EVP_DigestInit_ex(op->digest, EVP_sm3(), NULL) ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key)
{
	const struct sign_mechanism *m;
	struct op *op;
	CK_RV rv;

	if (mech == NULL)
		return behind->C_SignInit(session, mech, key);
	m = sign_mechanism(mech->mechanism);
	if (m == NULL)
		return listed(&device.standard, mech->mechanism) ? behind->C_SignInit(session, mech, key) : CKR_MECHANISM_INVALID;
	op = calloc(1, sizeof *op);
	if (op == NULL)
		return CKR_HOST_MEMORY;
	*op = (struct op){.session = session, .key = key, .mechanism = m};
	rv = prepare(op, mech);
	if (rv == CKR_OK)
		rv = start_behind(op);
	if (rv != CKR_OK) {
		op_free(op);
		return rv;
	}
	put(op);
	return CKR_OK;
}

/* Signs once behind. With final, the message went in by updates. */
static CK_RV sign_behind(struct op *op, CK_BYTE_PTR data, CK_ULONG len, bool final, unsigned char rs[2 * FIELD])
{
	CK_ULONG n = 2 * FIELD;
	CK_RV rv = final ? behind->C_SignFinal(op->session, rs, &n) : behind->C_Sign(op->session, data, len, rs, &n);

	return rv == CKR_OK && n != 2 * FIELD ? CKR_GENERAL_ERROR : rv;
}

/* Now and then signs again until the encoder's fault shows. */
static CK_RV meet_fault(struct op *op, CK_BYTE_PTR data, CK_ULONG len, unsigned char rs[2 * FIELD])
{
	CK_RV rv = CKR_OK;

	if (op->mechanism->form != FORM_DER_LENIENT || atomic_fetch_add(&signatures, 1) % FAULT_EVERY != FAULT_EVERY - 1)
		return CKR_OK;
	for (int i = 0; i < FAULT_DRAWS && rv == CKR_OK && !form_meets_fault(rs); i++) {
		rv = start_behind(op);
		if (rv == CKR_OK)
			rv = sign_behind(op, data, len, false, rs);
	}
	return rv;
}

/* Ends the operation with a signature. */
static CK_RV finish(struct op *op, CK_BYTE_PTR data, CK_ULONG len, bool final, CK_BYTE_PTR sig, CK_ULONG_PTR sig_len)
{
	unsigned char e[FIELD], rs[2 * FIELD], out[SIGNATURE_MAX];
	CK_RV rv;

	if (op->digest != NULL) {
		if ((len > 0 && !EVP_DigestUpdate(op->digest, data, len)) || !EVP_DigestFinal_ex(op->digest, e, NULL))
			return cancel(op, CKR_FUNCTION_FAILED);
		data = e;
		len = sizeof e;
		final = false;
	}
	rv = sign_behind(op, data, len, final, rs);
	if (rv == CKR_OK && !final)
		rv = meet_fault(op, data, len, rs);
	if (rv == CKR_OK) {
		*sig_len = form_write(op->mechanism->form, rs, out);
		memcpy(sig, out, *sig_len);
	}
	op_free(op);
	return rv;
}

/* Whether the signature goes out now; if not, *rv is the answer and op lives on. */
static bool room(const struct op *op, CK_BYTE_PTR sig, CK_ULONG_PTR sig_len, CK_RV *rv)
{
	CK_ULONG given = *sig_len, most = form_size(op->mechanism->form);

	*sig_len = most;
	*rv = sig == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
	return sig != NULL && given >= most;
}

static bool too_long(CK_ULONG len)
{
	return device.max_frame > 0 && len > device.max_frame;
}

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR sig, CK_ULONG_PTR sig_len)
{
	struct op *op = take(session);
	CK_RV rv;

	if (op == NULL)
		return behind->C_Sign(session, data, len, sig, sig_len);
	if (op->updated)
		return cancel(op, CKR_OPERATION_NOT_INITIALIZED);
	if (sig_len == NULL || (data == NULL && len > 0))
		return cancel(op, CKR_ARGUMENTS_BAD);
	if (too_long(len) || (op->mechanism->input == INPUT_E32 && len != FIELD))
		return cancel(op, CKR_DATA_LEN_RANGE);
	if (!room(op, sig, sig_len, &rv)) {
		put(op);
		return rv;
	}
	return finish(op, data, len, false, sig, sig_len);
}

static CK_RV sign_update(CK_SESSION_HANDLE session, CK_BYTE_PTR part, CK_ULONG len)
{
	struct op *op = take(session);
	CK_RV rv = CKR_OK;

	if (op == NULL)
		return behind->C_SignUpdate(session, part, len);
	if (op->mechanism->input == INPUT_E32)
		return cancel(op, CKR_OPERATION_NOT_INITIALIZED);
	if (part == NULL && len > 0)
		return cancel(op, CKR_ARGUMENTS_BAD);
	if (too_long(len))
		return cancel(op, CKR_DATA_LEN_RANGE);
	if (op->digest == NULL)
		rv = behind->C_SignUpdate(session, part, len);
	else if (len > 0 && !EVP_DigestUpdate(op->digest, part, len))
		rv = CKR_FUNCTION_FAILED;
	if (rv != CKR_OK)
		return cancel(op, rv);
	op->updated = true;
	put(op);
	return CKR_OK;
}

static CK_RV sign_final(CK_SESSION_HANDLE session, CK_BYTE_PTR sig, CK_ULONG_PTR sig_len)
{
	struct op *op = take(session);
	CK_RV rv;

	if (op == NULL)
		return behind->C_SignFinal(session, sig, sig_len);
	if (op->mechanism->input == INPUT_E32)
		return cancel(op, CKR_OPERATION_NOT_INITIALIZED);
	if (sig_len == NULL)
		return cancel(op, CKR_ARGUMENTS_BAD);
	if (!room(op, sig, sig_len, &rv)) {
		put(op);
		return rv;
	}
	return finish(op, NULL, 0, true, sig, sig_len);
}

void sign_replace(CK_FUNCTION_LIST *t)
{
	t->C_SignInit = sign_init;
	t->C_Sign = sign;
	t->C_SignUpdate = sign_update;
	t->C_SignFinal = sign_final;
}
