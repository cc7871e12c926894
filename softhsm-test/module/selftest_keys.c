/* Blobs changed in every place, PKCS#8 that is none, threads, restarts. */
#include "selftest.h"

#include <pthread.h>
#include <string.h>

#define THREADS 16
#define ROUNDS 12

static CK_MECHANISM sm2_e = {CKM_SM2_E, NULL, 0};

static CK_RV sign_and_verify(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE pub, CK_OBJECT_HANDLE priv)
{
	CK_BYTE e[SM2_FIELD], sig[SM2_SIGNATURE];
	CK_ULONG len = sizeof sig;
	CK_RV rv;

	memset(e, (int)(priv & 0x7F), sizeof e);
	if ((rv = p11->C_SignInit(s, &sm2_e, priv)) != CKR_OK ||
	    (rv = p11->C_Sign(s, e, sizeof e, sig, &len)) != CKR_OK ||
	    (rv = p11->C_VerifyInit(s, &sm2_e, pub)) != CKR_OK)
		return rv;
	return p11->C_Verify(s, e, sizeof e, sig, len);
}

void test_blobs(void)
{
	CK_OBJECT_HANDLE pub, priv, key, kek = wrapping_key();
	CK_BYTE blob[256], changed[256];
	CK_ULONG len;

	generate(CK_FALSE, CK_TRUE, &pub, &priv);
	len = wrap(kek, priv, blob, sizeof blob);
	EXPECT(CKR_OK, unwrap(kek, blob, len, &key));
	EXPECT(CKR_OK, sign_and_verify(session, pub, key));
	for (CK_ULONG i = 0; i < len; i++) {
		memcpy(changed, blob, len);
		changed[i] ^= 0x10;
		CHECK(unwrap(kek, changed, len, &key) != CKR_OK);
	}
	memset(changed, 0, sizeof changed);
	memcpy(changed, blob, len);
	for (CK_ULONG cut = 0; cut < sizeof changed; cut++)
		CHECK(cut == len || unwrap(kek, changed, cut, &key) != CKR_OK);
	CHECK(unwrap(kek, NULL, len, &key) != CKR_OK);
	CHECK(unwrap(kek, blob, len, NULL) != CKR_OK);
	CHECK(unwrap(99999, blob, len, &key) != CKR_OK);
}

/* PKCS#8 of an SM2 key with d = 1..32, without its public point. */
static const CK_BYTE pkcs8[] = {
	0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06,
	0x08, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04,
	0x20, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x10,
	0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F, 0x20,
};

/* Wraps bytes of our choice, as a secret key, and unwraps them as an EC key. */
static CK_RV unwrap_bytes(CK_OBJECT_HANDLE kek, const CK_BYTE *bytes, CK_ULONG len, CK_OBJECT_HANDLE *key)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_GENERIC_SECRET;
	CK_ATTRIBUTE list[] = {
		{CKA_CLASS, &class, sizeof class},
		{CKA_KEY_TYPE, &type, sizeof type},
		{CKA_EXTRACTABLE, &yes, sizeof yes},
		{CKA_VALUE, (void *)bytes, len},
	};
	CK_OBJECT_HANDLE secret = CK_INVALID_HANDLE;
	CK_BYTE blob[256];

	EXPECT(CKR_OK, p11->C_CreateObject(session, list, COUNT(list), &secret));
	len = wrap(kek, secret, blob, sizeof blob);
	EXPECT(CKR_OK, p11->C_DestroyObject(session, secret));
	return unwrap(kek, blob, len, key);
}

void test_pkcs8(void)
{
	CK_OBJECT_HANDLE key, kek = wrapping_key();
	CK_BYTE bytes[sizeof pkcs8 + 8], sig[SM2_SIGNATURE], e[SM2_FIELD] = {3};
	CK_ULONG len = sizeof sig;

	EXPECT(CKR_OK, unwrap_bytes(kek, pkcs8, sizeof pkcs8, &key));
	EXPECT(CKR_OK, p11->C_SignInit(session, &sm2_e, key));
	EXPECT(CKR_OK, p11->C_Sign(session, e, sizeof e, sig, &len));
	memset(bytes, 0, sizeof bytes);
	memcpy(bytes, pkcs8, sizeof pkcs8);
	EXPECT(CKR_OK, unwrap_bytes(kek, bytes, sizeof bytes, &key)); /* zeros behind are SoftHSM2's fill */
	for (size_t cut = 1; cut <= 64; cut++) /* above, the zero fill makes it whole again */
		CHECK(unwrap_bytes(kek, pkcs8, cut, &key) != CKR_OK);
	for (size_t i = 0; i < 35; i++) { /* the structure; behind it any bytes are a key */
		for (int bit = 0; bit < 8; bit += 3) {
			memcpy(bytes, pkcs8, sizeof pkcs8);
			bytes[i] ^= (CK_BYTE)(1 << bit);
			unwrap_bytes(kek, bytes, sizeof pkcs8, &key); /* whatever it says, no harm */
		}
	}
	memcpy(bytes, pkcs8, sizeof pkcs8);
	memset(bytes + 35, 0xFF, SM2_FIELD); /* above the order */
	CHECK(unwrap_bytes(kek, bytes, sizeof pkcs8, &key) != CKR_OK);
	memset(bytes + 35, 0, SM2_FIELD);
	CHECK(unwrap_bytes(kek, bytes, sizeof pkcs8, &key) != CKR_OK);
}

static CK_OBJECT_HANDLE shared_pub, shared_priv;

static void *sign_in_thread(void *unused)
{
	CK_SESSION_HANDLE own;

	(void)unused;
	for (int i = 0; i < ROUNDS; i++) {
		EXPECT(CKR_OK, p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &own));
		EXPECT(CKR_OK, sign_and_verify(own, shared_pub, shared_priv));
		EXPECT(CKR_OK, p11->C_SignInit(own, &sm2_e, shared_priv)); /* left open on purpose */
		EXPECT(CKR_OK, p11->C_CloseSession(own));
	}
	return NULL;
}

void test_threads(void)
{
	pthread_t threads[THREADS];

	generate(CK_TRUE, CK_FALSE, &shared_pub, &shared_priv);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, sign_in_thread, NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

/* The library ends with operations and searches open, again and again. */
void test_restart(void)
{
	CK_ATTRIBUTE closed[] = {{CKA_EXTRACTABLE, &no, sizeof no}};
	CK_OBJECT_HANDLE pub, priv;
	CK_SESSION_HANDLE other;

	for (int i = 0; i < 3; i++) {
		generate(CK_FALSE, CK_FALSE, &pub, &priv);
		EXPECT(CKR_OK, sign_and_verify(session, pub, priv));
		EXPECT(CKR_OK, p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &other));
		EXPECT(CKR_OK, p11->C_SignInit(session, &sm2_e, priv));
		EXPECT(CKR_OK, p11->C_FindObjectsInit(other, closed, 1));
		if (i == 1)
			EXPECT(CKR_OK, p11->C_CloseAllSessions(slot));
		EXPECT(CKR_OK, p11->C_Finalize(NULL));
		EXPECT(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_SignInit(session, &sm2_e, priv));
		start();
	}
}
