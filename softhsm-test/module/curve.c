/*
 * SM2 on OpenSSL's EVP calls. Without a digest set, EVP_PKEY_sign takes e
 * itself (32 bytes) and gives DER, so no curve arithmetic is written here.
 * Clause numbers are of GB/T 32918.2.
 */
#include "module.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

const CK_BYTE sm2_params[SM2_PARAMS_LEN] = {0x06, 0x08, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D};

/* a, b, Gx, Gy of GB/T 32918.5, in the order Z hashes them. */
static const unsigned char curve_constants[4 * SM2_FIELD] = {
	0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
	0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFC,
	0x28, 0xE9, 0xFA, 0x9E, 0x9D, 0x9F, 0x5E, 0x34, 0x4D, 0x5A, 0x9E, 0x4B, 0xCF, 0x65, 0x09, 0xA7,
	0xF3, 0x97, 0x89, 0xF5, 0x15, 0xAB, 0x8F, 0x92, 0xDD, 0xBC, 0xBD, 0x41, 0x4D, 0x94, 0x0E, 0x93,
	0x32, 0xC4, 0xAE, 0x2C, 0x1F, 0x19, 0x81, 0x19, 0x5F, 0x99, 0x04, 0x46, 0x6A, 0x39, 0xC9, 0x94,
	0x8F, 0xE3, 0x0B, 0xBF, 0xF2, 0x66, 0x0B, 0xE1, 0x71, 0x5A, 0x45, 0x89, 0x33, 0x4C, 0x74, 0xC7,
	0xBC, 0x37, 0x36, 0xA2, 0xF4, 0xF6, 0x77, 0x9C, 0x59, 0xBD, 0xCE, 0xE3, 0x6B, 0x69, 0x21, 0x53,
	0xD0, 0xA9, 0x87, 0x7C, 0xC6, 0x2A, 0x47, 0x40, 0x02, 0xDF, 0x32, 0xE5, 0x21, 0x39, 0xF0, 0xA0,
};

static const char default_id[] = "1234567812345678";

static EC_GROUP *group;
static pthread_once_t group_once = PTHREAD_ONCE_INIT;

static void group_open(void)
{
	group = EC_GROUP_new_by_curve_name(NID_sm2);
}

static const EC_GROUP *curve(void)
{
	pthread_once(&group_once, group_open);
	return group;
}

/* Builds the EVP_PKEY of point and, when given, d. */
static EVP_PKEY *build_pkey(const unsigned char point[SM2_POINT], const BIGNUM *d)
{
	EVP_PKEY *pkey = NULL;
	OSSL_PARAM *params = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "SM2", NULL);
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	int selection = d != NULL ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY;

	if (ctx == NULL || bld == NULL)
		goto done;
	if (!OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "SM2", 0) ||
	    !OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, SM2_POINT) ||
	    (d != NULL && !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PRIV_KEY, d)))
		goto done;
	params = OSSL_PARAM_BLD_to_param(bld);
	if (params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pkey, selection, params) != 1)
		pkey = NULL;
done:
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

static struct sm2_key *new_key(const unsigned char point[SM2_POINT], const BIGNUM *d)
{
	struct sm2_key *key = calloc(1, sizeof *key);

	if (key == NULL)
		return NULL;
	atomic_init(&key->refs, 1);
	memcpy(key->point, point, SM2_POINT);
	key->pkey = build_pkey(point, d);
	if (key->pkey == NULL) {
		free(key);
		return NULL;
	}
	return key;
}

/* Whether 1 <= d <= n-2: d = n-1 has no inverse of 1 + d. */
static bool scalar_ok(const BIGNUM *d)
{
	BIGNUM *limit = BN_dup(EC_GROUP_get0_order(curve()));
	bool ok = limit != NULL && BN_sub_word(limit, 2) && !BN_is_zero(d) && BN_cmp(d, limit) <= 0;

	BN_free(limit);
	return ok;
}

bool sm2_scalar_valid(const unsigned char d[SM2_FIELD])
{
	BIGNUM *n = curve() == NULL ? NULL : BN_bin2bn(d, SM2_FIELD, NULL);
	bool ok = n != NULL && scalar_ok(n);

	BN_clear_free(n);
	return ok;
}

/* Decodes the private scalar d, big-endian, and computes its point d*G. */
struct sm2_key *sm2_key_private(const unsigned char *bytes, size_t len)
{
	struct sm2_key *key = NULL;
	unsigned char point[SM2_POINT];
	EC_POINT *public = NULL;
	BIGNUM *d = NULL;

	if (curve() == NULL || len == 0 || len > SM2_FIELD)
		return NULL;
	d = BN_bin2bn(bytes, (int)len, NULL);
	public = EC_POINT_new(curve());
	if (d != NULL && public != NULL && scalar_ok(d) && EC_POINT_mul(curve(), public, d, NULL, NULL, NULL) == 1 &&
	    EC_POINT_point2oct(curve(), public, POINT_CONVERSION_UNCOMPRESSED, point, sizeof point, NULL) == SM2_POINT)
		key = new_key(point, d);
	EC_POINT_free(public);
	BN_clear_free(d);
	return key;
}

/* Decodes a CKA_EC_POINT: DER OCTET STRING (04 41 04 X Y) or the bare point. */
struct sm2_key *sm2_key_public(const unsigned char *point, size_t len)
{
	struct sm2_key *key = NULL;
	EC_POINT *public;

	if (len == SM2_POINT + 2 && point[0] == 0x04 && point[1] == SM2_POINT) {
		point += 2;
		len -= 2;
	}
	if (len != SM2_POINT || curve() == NULL)
		return NULL;
	public = EC_POINT_new(curve());
	/* point2oct's reverse checks that the point is on the curve. */
	if (public != NULL && EC_POINT_oct2point(curve(), public, point, len, NULL) == 1)
		key = new_key(point, NULL);
	EC_POINT_free(public);
	return key;
}

struct sm2_key *sm2_key_ref(struct sm2_key *key)
{
	atomic_fetch_add(&key->refs, 1);
	return key;
}

void sm2_key_unref(struct sm2_key *key)
{
	if (key == NULL || atomic_fetch_sub(&key->refs, 1) != 1)
		return;
	EVP_PKEY_free(key->pkey);
	free(key);
}

/*
 * Starts e = SM3(Z || M) with Z of 5.5: the bit length of the ID in two bytes,
 * the ID, the curve's constants, the public point. No ID means the default one.
 */
EVP_MD_CTX *sm2_digest_start(const struct sm2_key *key, const unsigned char *id, size_t len)
{
	unsigned char bits[2], z[SM2_FIELD];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (len == 0) {
		id = (const unsigned char *)default_id;
		len = sizeof default_id - 1;
	}
	bits[0] = (unsigned char)(len * 8 >> 8);
	bits[1] = (unsigned char)(len * 8);
	if (ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sm3(), NULL) && EVP_DigestUpdate(ctx, bits, sizeof bits) &&
	    EVP_DigestUpdate(ctx, id, len) && EVP_DigestUpdate(ctx, curve_constants, sizeof curve_constants) &&
	    EVP_DigestUpdate(ctx, key->point + 1, SM2_POINT - 1) && EVP_DigestFinal_ex(ctx, z, NULL) &&
	    EVP_DigestInit_ex(ctx, EVP_sm3(), NULL) && EVP_DigestUpdate(ctx, z, sizeof z))
		return ctx;
	EVP_MD_CTX_free(ctx);
	return NULL;
}

bool sm2_sign(const struct sm2_key *key, const unsigned char e[SM2_FIELD], unsigned char sig[SM2_SIGNATURE])
{
	unsigned char der[128];
	const unsigned char *p = der;
	size_t len = sizeof der;
	ECDSA_SIG *rs = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
	bool ok = ctx != NULL && EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &len, e, SM2_FIELD) == 1 &&
		(rs = d2i_ECDSA_SIG(NULL, &p, (long)len)) != NULL &&
		BN_bn2binpad(ECDSA_SIG_get0_r(rs), sig, SM2_FIELD) == SM2_FIELD &&
		BN_bn2binpad(ECDSA_SIG_get0_s(rs), sig + SM2_FIELD, SM2_FIELD) == SM2_FIELD;

	ECDSA_SIG_free(rs);
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

/* Packs r||s as the DER that EVP_PKEY_verify expects; 0 on failure. */
static int signature_der(const unsigned char sig[SM2_SIGNATURE], unsigned char **der)
{
	int len = 0;
	ECDSA_SIG *rs = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(sig, SM2_FIELD, NULL);
	BIGNUM *s = BN_bin2bn(sig + SM2_FIELD, SM2_FIELD, NULL);

	if (rs != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(rs, r, s)) {
		r = s = NULL; /* owned by rs now */
		len = i2d_ECDSA_SIG(rs, der);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(rs);
	return len > 0 ? len : 0;
}

bool sm2_verify(const struct sm2_key *key, const unsigned char e[SM2_FIELD], const unsigned char sig[SM2_SIGNATURE])
{
	unsigned char *der = NULL;
	int len = signature_der(sig, &der);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
	bool ok = len > 0 && ctx != NULL && EVP_PKEY_verify_init(ctx) == 1 &&
		EVP_PKEY_verify(ctx, der, (size_t)len, e, SM2_FIELD) == 1;

	EVP_PKEY_CTX_free(ctx);
	OPENSSL_free(der);
	return ok;
}

/*
 * Reads the private scalar out of a PKCS#8 structure. Trailing zeros are
 * tolerated: SoftHSM2 fills up to a multiple of 8 before it wraps.
 */
enum pkcs8_kind sm2_parse_pkcs8(const unsigned char *der, size_t len, unsigned char d[SM2_FIELD])
{
	enum pkcs8_kind kind = PKCS8_OTHER;
	const unsigned char *p = der;
	BIGNUM *scalar = NULL;
	PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)len);
	EVP_PKEY *pkey = info == NULL ? NULL : EVP_PKCS82PKEY(info);

	if (pkey == NULL)
		kind = PKCS8_UNREADABLE;
	else if (EVP_PKEY_is_a(pkey, "SM2") &&
		 EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &scalar) == 1 &&
		 BN_bn2binpad(scalar, d, SM2_FIELD) == SM2_FIELD)
		kind = PKCS8_SM2;
	BN_clear_free(scalar);
	EVP_PKEY_free(pkey);
	PKCS8_PRIV_KEY_INFO_free(info);
	return kind;
}
