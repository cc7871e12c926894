/* Signing and verifying with SM2. */
#include "module.h"

#include <stdlib.h>

static CK_RV inner_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key, bool verify)
{
	return verify ? inner->C_VerifyInit(session, mech, key) : inner->C_SignInit(session, mech, key);
}

/*
 * Lets SoftHSM2 judge whether the key may be used: it checks the session, the
 * login, CKA_SIGN or CKA_VERIFY, and that nothing else is active. Its ECDSA
 * operation is then ended by an update, which resets a single-part operation
 * and answers CKR_OPERATION_NOT_INITIALIZED; a final call would not reset it.
 */
static CK_RV admit(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, bool verify)
{
	CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
	CK_BYTE byte = 0;
	CK_RV rv = inner_init(session, &ecdsa, key, verify);

	if (rv != CKR_OK)
		return rv;
	rv = verify ? inner->C_VerifyUpdate(session, &byte, 1) : inner->C_SignUpdate(session, &byte, 1);
	if (rv == CKR_OPERATION_NOT_INITIALIZED)
		return CKR_OK;
	return rv == CKR_OK ? CKR_GENERAL_ERROR : rv;
}

static bool allowed(const struct sm2_key *key, CK_MECHANISM_TYPE type)
{
	for (size_t i = 0; i < key->allowed_count; i++)
		if (key->allowed[i] == type)
			return true;
	return key->allowed_count == 0;
}

static CK_RV check_parameter(CK_MECHANISM_PTR mech)
{
	if (mech->mechanism == CKM_SM2_E)
		return mech->ulParameterLen == 0 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
	if (mech->ulParameterLen > SM2_ID_MAX || (mech->ulParameterLen > 0 && mech->pParameter == NULL))
		return CKR_MECHANISM_PARAM_INVALID;
	return CKR_OK;
}

/* Fills in the operation after SoftHSM2 has admitted the key. */
static CK_RV fill_op(struct op *op, CK_MECHANISM_PTR mech, enum object_kind kind)
{
	CK_RV rv = object_key(op->session, op->object, kind, &op->key);

	if (rv != CKR_OK)
		return rv;
	if (!allowed(op->key, mech->mechanism))
		return CKR_MECHANISM_INVALID;
	if (mech->mechanism != CKM_SM3_SM2)
		return CKR_OK;
	op->digest = sm2_digest_start(op->key, mech->pParameter, mech->ulParameterLen);
	return op->digest != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV start_sm2(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE object,
	enum object_kind kind, bool verify)
{
	enum object_kind want = verify ? OBJECT_SM2_PUBLIC : OBJECT_SM2_PRIVATE;
	struct op *op;
	CK_RV rv;

	if (kind != want && kind != OBJECT_UNKNOWN)
		return CKR_KEY_TYPE_INCONSISTENT;
	rv = check_parameter(mech);
	if (rv != CKR_OK)
		return rv;
	op = calloc(1, sizeof *op);
	if (op == NULL)
		return CKR_HOST_MEMORY;
	op->session = session;
	op->object = object;
	op->verify = verify;
	op->generation = ops_generation();
	rv = admit(session, object, verify);
	if (rv == CKR_OK)
		rv = kind == want ? fill_op(op, mech, kind) : CKR_KEY_HANDLE_INVALID;
	if (rv != CKR_OK) {
		op_free(op);
		return rv;
	}
	op_put(op);
	return CKR_OK;
}

static CK_RV start(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE object, bool verify)
{
	enum object_kind kind;

	if (mech == NULL)
		return inner_init(session, mech, object, verify);
	if (op_active(session))
		return CKR_OPERATION_ACTIVE;
	kind = object_kind(session, object);
	if (mech->mechanism == CKM_SM3_SM2 || mech->mechanism == CKM_SM2_E)
		return start_sm2(session, mech, object, kind, verify);
	/* ECDSA on the SM2 curve would be a wrong seal without any error. */
	if (kind == OBJECT_SM2_PRIVATE || kind == OBJECT_SM2_PUBLIC)
		return CKR_KEY_TYPE_INCONSISTENT;
	return inner_init(session, mech, object, verify);
}

CK_RV sk_sign_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key)
{
	return start(session, mech, key, false);
}

CK_RV sk_verify_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key)
{
	return start(session, mech, key, true);
}

/* Ends the operation with the code given. */
static CK_RV end(struct op *op, CK_RV rv)
{
	op_free(op);
	return rv;
}

/* Whether the signature goes out now; if not, *rv is the answer and op lives on. */
static bool room(CK_BYTE_PTR sig, CK_ULONG_PTR sig_len, CK_RV *rv)
{
	CK_ULONG given = *sig_len;

	*sig_len = SM2_SIGNATURE;
	*rv = sig == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
	return sig != NULL && given >= SM2_SIGNATURE;
}

/* Finds e: the caller's 32 bytes, or the digest once data is added. */
static CK_RV finish_e(struct op *op, const CK_BYTE *data, CK_ULONG len, const unsigned char **e,
	unsigned char buf[SM2_FIELD])
{
	CK_SESSION_INFO info;
	CK_RV rv = inner->C_GetSessionInfo(op->session, &info);

	if (rv != CKR_OK) /* the session is gone, and its login with it */
		return rv;
	if (op->digest == NULL) {
		*e = data;
		return len == SM2_FIELD ? CKR_OK : CKR_DATA_LEN_RANGE;
	}
	*e = buf;
	if ((len > 0 && !EVP_DigestUpdate(op->digest, data, len)) || !EVP_DigestFinal_ex(op->digest, buf, NULL))
		return CKR_FUNCTION_FAILED;
	return CKR_OK;
}

static CK_RV sign_and_end(struct op *op, const CK_BYTE *data, CK_ULONG len, CK_BYTE_PTR sig)
{
	unsigned char buf[SM2_FIELD];
	const unsigned char *e;
	CK_RV rv = finish_e(op, data, len, &e, buf);

	if (rv == CKR_OK && !sm2_sign(op->key, e, sig))
		rv = CKR_FUNCTION_FAILED;
	return end(op, rv);
}

CK_RV sk_sign(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR sig, CK_ULONG_PTR sig_len)
{
	struct op *op = op_take(session, false);
	CK_RV rv;

	if (op == NULL)
		return inner->C_Sign(session, data, len, sig, sig_len);
	if (op->updated) /* C_SignFinal alone ends a multi-part operation */
		return end(op, CKR_OPERATION_NOT_INITIALIZED);
	if (sig_len == NULL || (data == NULL && len > 0))
		return end(op, CKR_ARGUMENTS_BAD);
	if (!room(sig, sig_len, &rv)) {
		op_put(op);
		return rv;
	}
	return sign_and_end(op, data, len, sig);
}

static CK_RV update(struct op *op, CK_BYTE_PTR part, CK_ULONG len)
{
	/* e is one piece; SoftHSM2 answers its own single-part mechanisms so. */
	if (op->digest == NULL)
		return end(op, CKR_OPERATION_NOT_INITIALIZED);
	if (part == NULL && len > 0)
		return end(op, CKR_ARGUMENTS_BAD);
	if (len > 0 && !EVP_DigestUpdate(op->digest, part, len))
		return end(op, CKR_FUNCTION_FAILED);
	op->updated = true;
	op_put(op);
	return CKR_OK;
}

CK_RV sk_sign_update(CK_SESSION_HANDLE session, CK_BYTE_PTR part, CK_ULONG len)
{
	struct op *op = op_take(session, false);

	return op == NULL ? inner->C_SignUpdate(session, part, len) : update(op, part, len);
}

CK_RV sk_sign_final(CK_SESSION_HANDLE session, CK_BYTE_PTR sig, CK_ULONG_PTR sig_len)
{
	struct op *op = op_take(session, false);
	CK_RV rv;

	if (op == NULL)
		return inner->C_SignFinal(session, sig, sig_len);
	if (op->digest == NULL)
		return end(op, CKR_OPERATION_NOT_INITIALIZED);
	if (sig_len == NULL)
		return end(op, CKR_ARGUMENTS_BAD);
	if (!room(sig, sig_len, &rv)) {
		op_put(op);
		return rv;
	}
	return sign_and_end(op, NULL, 0, sig);
}

static CK_RV verify_and_end(struct op *op, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *sig, CK_ULONG sig_len)
{
	unsigned char buf[SM2_FIELD];
	const unsigned char *e;
	CK_RV rv = finish_e(op, data, len, &e, buf);

	if (rv == CKR_OK && sig_len != SM2_SIGNATURE)
		rv = CKR_SIGNATURE_LEN_RANGE;
	if (rv == CKR_OK && !sm2_verify(op->key, e, sig))
		rv = CKR_SIGNATURE_INVALID;
	return end(op, rv);
}

CK_RV sk_verify(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR sig, CK_ULONG sig_len)
{
	struct op *op = op_take(session, true);

	if (op == NULL)
		return inner->C_Verify(session, data, len, sig, sig_len);
	if (op->updated)
		return end(op, CKR_OPERATION_NOT_INITIALIZED);
	if (sig == NULL || (data == NULL && len > 0))
		return end(op, CKR_ARGUMENTS_BAD);
	return verify_and_end(op, data, len, sig, sig_len);
}

CK_RV sk_verify_update(CK_SESSION_HANDLE session, CK_BYTE_PTR part, CK_ULONG len)
{
	struct op *op = op_take(session, true);

	return op == NULL ? inner->C_VerifyUpdate(session, part, len) : update(op, part, len);
}

CK_RV sk_verify_final(CK_SESSION_HANDLE session, CK_BYTE_PTR sig, CK_ULONG sig_len)
{
	struct op *op = op_take(session, true);

	if (op == NULL)
		return inner->C_VerifyFinal(session, sig, sig_len);
	if (op->digest == NULL)
		return end(op, CKR_OPERATION_NOT_INITIALIZED);
	if (sig == NULL)
		return end(op, CKR_ARGUMENTS_BAD);
	return verify_and_end(op, NULL, 0, sig, sig_len);
}

/* SoftHSM2 allows one operation a session; it cannot see the SM2 one. */

CK_RV sk_digest_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech)
{
	return op_active(session) ? CKR_OPERATION_ACTIVE : inner->C_DigestInit(session, mech);
}

CK_RV sk_encrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key)
{
	return op_active(session) ? CKR_OPERATION_ACTIVE : inner->C_EncryptInit(session, mech, key);
}

CK_RV sk_decrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key)
{
	return op_active(session) ? CKR_OPERATION_ACTIVE : inner->C_DecryptInit(session, mech, key);
}
