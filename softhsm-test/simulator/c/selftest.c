/*
 * Self-test of the simulator over the SM2 module, on a throw-away token of its
 * own, meant for a build under the address and undefined-behaviour sanitizers.
 *
 *     selftest SIMULATOR SM2-MODULE
 *
 * The library is copied for each device, since it reads what it is once.
 */
#include "simulator.h"

#include <dlfcn.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CHECK(cond) check((cond), #cond, __LINE__)
#define EXPECT(want, call) expect_code((call), (want), #call, __LINE__)

static CK_FUNCTION_LIST_PTR p11;
static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;
static atomic_int failures;
static CK_BBOOL yes = CK_TRUE;
static char folder[64];
static const char *simulator, *sm2_module;
static unsigned char pin[] = "0123456789";

static const CK_BYTE oid[OID_LEN] = {0x06, 0x08, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D};

static void check(int good, const char *what, int line)
{
	if (good)
		return;
	fprintf(stderr, "line %d: not so: %s\n", line, what);
	failures++;
}

static void expect_code(CK_RV got, CK_RV want, const char *what, int line)
{
	if (got == want)
		return;
	fprintf(stderr, "line %d: 0x%lx, want 0x%lx: %s\n", line, got, want, what);
	failures++;
}

static void die(const char *what)
{
	perror(what);
	exit(2);
}

/* LeakSanitizer reads this: what SoftHSM2 leaks is not ours to mend. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libsofthsm2\n";
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
		die(path);
}

static void copy_file(const char *from, const char *to)
{
	char buf[8192];
	size_t n;
	FILE *in = fopen(from, "r"), *out = fopen(to, "w");

	if (in == NULL || out == NULL)
		die(from);
	while ((n = fread(buf, 1, sizeof buf, in)) > 0)
		if (fwrite(buf, 1, n, out) != n)
			die(to);
	fclose(in);
	if (fclose(out) != 0)
		die(to);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void make_folder(void)
{
	char path[128], conf[256];

	snprintf(folder, sizeof folder, "%s/sealkeeper-selftest-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(folder) == NULL)
		die(folder);
	snprintf(path, sizeof path, "%s/softhsm2.conf", folder);
	snprintf(conf, sizeof conf, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", folder);
	write_file(path, conf);
	setenv("SOFTHSM2_CONF", path, 1);
}

/* Loads a copy that is the device of the lines; the answer of C_GetFunctionList. */
static CK_RV load_device(const char *lines)
{
	static int n;
	char path[128], profile[160], text[2048];
	CK_C_GetFunctionList get;
	void *library;

	snprintf(path, sizeof path, "%s/device-%d.so", folder, ++n);
	snprintf(profile, sizeof profile, "%s.profile", path);
	snprintf(text, sizeof text, lines, sm2_module);
	copy_file(simulator, path);
	write_file(profile, text);
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		exit(2);
	}
	get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
	EXPECT(CKR_ARGUMENTS_BAD, get(NULL));
	CHECK(dlsym(library, "device_read") == NULL);
	return get(&p11);
}

#define HEAD "sealkeeper-simulator 1\nbehind %s\nlibrary_manufacturer Test simulated\n"

/* What is not understood, or does not call itself simulated, does not load. */
static void test_bad_lines(void)
{
	static const char *const bad[] = {
		"",
		"sealkeeper-simulator 2\nbehind %s\nlibrary_manufacturer Test simulated\n",
		"sealkeeper-simulator 1\nbehind %s\nlibrary_manufacturer Test\n",
		"sealkeeper-simulator 1\nlibrary_manufacturer Test simulated\n",
		HEAD "unknown 1\n",
		HEAD "listed 0x1 0x2\n",
		HEAD "listed 0x100000000\n",
		HEAD "listed -1\n",
		HEAD "listed \n",
		HEAD "firmware 1 256\n",
		HEAD "sm2_sign 0x1 e33 raw64\n",
		HEAD "sm2_sign 0x1 e32\n",
		HEAD "ecpoint raw66\n",
		HEAD "token_model This text is longer than a model may be\n",
	};

	for (size_t i = 0; i < COUNT(bad); i++)
		EXPECT(CKR_GENERAL_ERROR, load_device(bad[i]));
}

static void log_in(CK_USER_TYPE user)
{
	CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
	CK_SLOT_ID list[8];
	CK_ULONG count = COUNT(list);
	CK_TOKEN_INFO info;

	EXPECT(CKR_OK, p11->C_Initialize(&args));
	EXPECT(CKR_OK, p11->C_GetSlotList(CK_TRUE, list, &count));
	for (CK_ULONG i = 0; i < count; i++)
		if (p11->C_GetTokenInfo(list[i], &info) == CKR_OK && (info.flags & CKF_TOKEN_INITIALIZED))
			slot = list[i];
	EXPECT(CKR_OK, p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
	EXPECT(CKR_OK, p11->C_Login(session, user, pin, sizeof pin - 1));
}

static void make_token(void)
{
	unsigned char label[32];
	CK_SLOT_ID first;
	CK_ULONG count = 1;

	memset(label, ' ', sizeof label);
	memcpy(label, "selftest", 8);
	EXPECT(CKR_OK, p11->C_Initialize(NULL));
	EXPECT(CKR_OK, p11->C_GetSlotList(CK_TRUE, &first, &count));
	EXPECT(CKR_OK, p11->C_InitToken(first, pin, sizeof pin - 1, label));
	EXPECT(CKR_OK, p11->C_OpenSession(first, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
	EXPECT(CKR_OK, p11->C_Login(session, CKU_SO, pin, sizeof pin - 1));
	EXPECT(CKR_OK, p11->C_InitPIN(session, pin, sizeof pin - 1));
	EXPECT(CKR_OK, p11->C_Finalize(NULL));
}

#define KEY_TYPE 0x80000007UL
#define GENERATE 0x80001001UL
#define BY_E 0x80001002UL
#define BY_MESSAGE 0x80001003UL
#define BY_Z 0x80001004UL
#define BY_ID 0x80001005UL
#define BITS 0x80000011UL
#define VALUE 0x80000014UL
#define X 0x80000012UL
#define Y 0x80000013UL

#define DEVICE HEAD \
	"library_description A device\ntoken_manufacturer Maker\ntoken_model Model\nlibrary_version 3 4\nfirmware 5 6\n" \
	"user_type 0x80000001\nmax_sessions 3\nmax_frame 64\nsm2_keygen 0x80000007 0x80001001 oid required\n" \
	"sm2_attributes 0x80000011 0x80000014 0x80000012 0x80000013\n" \
	"sm2_sign 0x80001002 e32 der-lenient\nsm2_sign 0x80001003 hash-noz raw128\nsm2_sign 0x80001004 hash-z-default der\n" \
	"sm2_sign 0x80001005 hash-z-param raw64\necpoint xy\nlisted 0x80002000\nunreadable 0x163\nrefused 0x171\n"

/* Makes a pair; drop takes one attribute out of the public template, and 0 none. */
static CK_RV generate(CK_ATTRIBUTE_TYPE drop, CK_OBJECT_HANDLE *pub, CK_OBJECT_HANDLE *priv)
{
	CK_MECHANISM mech = {GENERATE, NULL, 0};
	CK_ULONG type = KEY_TYPE, bits = 256;
	CK_ATTRIBUTE tpub[] = {{CKA_KEY_TYPE, &type, sizeof type}, {CKA_EC_PARAMS, (void *)oid, sizeof oid}, {BITS, &bits, sizeof bits},
		{CKA_VERIFY, &yes, sizeof yes}};
	CK_ATTRIBUTE tpriv[] = {{CKA_KEY_TYPE, &type, sizeof type}, {BITS, &bits, sizeof bits}, {CKA_SIGN, &yes, sizeof yes},
		{CKA_SENSITIVE, &yes, sizeof yes}, {CKA_LABEL, "key", 3}};
	CK_ULONG n = 0;

	for (CK_ULONG i = 0; i < COUNT(tpub); i++)
		if (drop == 0 || tpub[i].type != drop)
			tpub[n++] = tpub[i];
	return p11->C_GenerateKeyPair(session, &mech, tpub, n, tpriv, COUNT(tpriv), pub, priv);
}

static void test_info(void)
{
	CK_INFO info;
	CK_TOKEN_INFO token;
	CK_MECHANISM_TYPE list[16];
	CK_ULONG count = 0;
	CK_MECHANISM_INFO mech;
	CK_SESSION_HANDLE more[4];

	EXPECT(CKR_OK, p11->C_GetInfo(&info));
	CHECK(memcmp(info.manufacturerID, "Test simulated ", 15) == 0 && info.libraryVersion.major == 3 && info.libraryVersion.minor == 4);
	EXPECT(CKR_OK, p11->C_GetTokenInfo(slot, &token));
	CHECK(memcmp(token.model, "Model   ", 8) == 0 && token.firmwareVersion.major == 5 && token.ulMaxRwSessionCount == 3);
	EXPECT(CKR_ARGUMENTS_BAD, p11->C_GetMechanismList(slot, NULL, NULL));
	EXPECT(CKR_OK, p11->C_GetMechanismList(slot, NULL, &count));
	CHECK(count == 6);
	count = 5;
	EXPECT(CKR_BUFFER_TOO_SMALL, p11->C_GetMechanismList(slot, list, &count));
	EXPECT(CKR_OK, p11->C_GetMechanismList(slot, list, &count));
	EXPECT(CKR_OK, p11->C_GetMechanismInfo(slot, BY_E, &mech));
	CHECK(mech.flags == CKF_SIGN);
	EXPECT(CKR_OK, p11->C_GetMechanismInfo(slot, 0x80002000UL, &mech));
	CHECK(mech.flags == 0);
	EXPECT(CKR_MECHANISM_INVALID, p11->C_GetMechanismInfo(slot, CKM_ECDSA, &mech));
	EXPECT(CKR_OK, p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &more[0]));
	EXPECT(CKR_OK, p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &more[1]));
	EXPECT(CKR_SESSION_COUNT, p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &more[2]));
	EXPECT(CKR_OK, p11->C_CloseSession(more[0]));
	EXPECT(CKR_OK, p11->C_CloseSession(more[1]));
	EXPECT(CKR_USER_TYPE_INVALID, p11->C_Login(session, CKU_USER, pin, sizeof pin - 1));
}

static void test_keys(void)
{
	CK_OBJECT_HANDLE pub, priv, found[4];
	CK_ULONG type = 0, bits = 0, want = KEY_TYPE, count;
	CK_BYTE x[32], short_x[8], local;
	CK_ATTRIBUTE list[] = {{CKA_KEY_TYPE, &type, sizeof type}, {CKA_LOCAL, &local, 1}, {X, x, sizeof x}, {BITS, &bits, sizeof bits}};
	CK_ATTRIBUTE value = {VALUE, x, sizeof x}, point = {CKA_EC_POINT, NULL, 0}, small = {Y, short_x, sizeof short_x};
	CK_ATTRIBUTE search = {CKA_KEY_TYPE, &want, sizeof want}, copyable = {CKA_COPYABLE, &yes, sizeof yes};
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_ATTRIBUTE import = {CKA_CLASS, &class, sizeof class};
	CK_MECHANISM ec = {CKM_EC_KEY_PAIR_GEN, NULL, 0};

	EXPECT(CKR_TEMPLATE_INCOMPLETE, generate(CKA_KEY_TYPE, &pub, &priv));
	EXPECT(CKR_TEMPLATE_INCOMPLETE, generate(CKA_EC_PARAMS, &pub, &priv));
	EXPECT(CKR_TEMPLATE_INCOMPLETE, generate(BITS, &pub, &priv));
	EXPECT(CKR_MECHANISM_INVALID, p11->C_GenerateKeyPair(session, &ec, &search, 1, &search, 1, &pub, &priv));
	EXPECT(CKR_MECHANISM_INVALID, p11->C_GenerateKey(session, &ec, &copyable, 1, &priv));
	EXPECT(CKR_TEMPLATE_INCONSISTENT, p11->C_CreateObject(session, &import, 1, &pub));
	EXPECT(CKR_OK, generate(0, &pub, &priv));
	EXPECT(CKR_ATTRIBUTE_TYPE_INVALID, p11->C_GetAttributeValue(session, pub, list, COUNT(list)));
	CHECK(type == KEY_TYPE && bits == 256 && list[1].ulValueLen == CK_UNAVAILABLE_INFORMATION && list[2].ulValueLen == 32);
	EXPECT(CKR_ATTRIBUTE_SENSITIVE, p11->C_GetAttributeValue(session, priv, &value, 1));
	EXPECT(CKR_ATTRIBUTE_TYPE_INVALID, p11->C_GetAttributeValue(session, pub, &point, 1));
	EXPECT(CKR_BUFFER_TOO_SMALL, p11->C_GetAttributeValue(session, pub, &small, 1));
	EXPECT(CKR_OBJECT_HANDLE_INVALID, p11->C_GetAttributeValue(session, 9999, &value, 1));
	EXPECT(CKR_OK, p11->C_FindObjectsInit(session, &search, 1));
	EXPECT(CKR_OK, p11->C_FindObjects(session, found, COUNT(found), &count));
	EXPECT(CKR_OK, p11->C_FindObjectsFinal(session));
	CHECK(count == 2);
	EXPECT(CKR_OK, p11->C_DestroyObject(session, pub));
	EXPECT(CKR_OK, p11->C_DestroyObject(session, priv));
}

static CK_RV sign_by(CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key, CK_BYTE *data, CK_ULONG len, CK_BYTE *sig, CK_ULONG *n)
{
	CK_MECHANISM mech = {type, type == BY_ID ? "1234567812345678" : NULL, type == BY_ID ? 16 : 0};
	CK_RV rv = p11->C_SignInit(session, &mech, key);

	return rv != CKR_OK ? rv : p11->C_Sign(session, data, len, sig, n);
}

static void test_lengths(CK_OBJECT_HANDLE key)
{
	CK_MECHANISM e = {BY_E, NULL, 0}, message = {BY_MESSAGE, NULL, 0}, bad = {BY_E, "x", 1}, none = {BY_ID, NULL, 0};
	CK_BYTE data[65] = {1}, sig[SIGNATURE_MAX];
	CK_ULONG n = 0;

	EXPECT(CKR_MECHANISM_PARAM_INVALID, p11->C_SignInit(session, &bad, key));
	EXPECT(CKR_MECHANISM_PARAM_INVALID, p11->C_SignInit(session, &none, key));
	EXPECT(CKR_OK, p11->C_SignInit(session, &e, key));
	EXPECT(CKR_OPERATION_ACTIVE, p11->C_SignInit(session, &message, key));
	EXPECT(CKR_OK, p11->C_Sign(session, data, 32, NULL, &n));
	CHECK(n == form_size(FORM_DER));
	n = 10;
	EXPECT(CKR_BUFFER_TOO_SMALL, p11->C_Sign(session, data, 32, sig, &n));
	n = sizeof sig;
	EXPECT(CKR_OK, p11->C_Sign(session, data, 32, sig, &n));
	CHECK(sig[0] == 0x30 && sig[1] + 2UL == n);
	n = sizeof sig;
	EXPECT(CKR_DATA_LEN_RANGE, sign_by(BY_E, key, data, 31, sig, &n));
	EXPECT(CKR_DATA_LEN_RANGE, sign_by(BY_MESSAGE, key, data, 65, sig, &n));
	EXPECT(CKR_ARGUMENTS_BAD, sign_by(BY_Z, key, NULL, 5, sig, &n));
	EXPECT(CKR_ARGUMENTS_BAD, sign_by(BY_Z, key, data, 5, sig, NULL));
	n = sizeof sig;
	EXPECT(CKR_OK, sign_by(BY_MESSAGE, key, data, 64, sig, &n));
	CHECK(n == 128);
	EXPECT(CKR_OK, sign_by(BY_ID, key, data, 0, sig, &n));
	CHECK(n == 64);
	EXPECT(CKR_OPERATION_NOT_INITIALIZED, p11->C_Sign(session, data, 32, sig, &n));
}

static void test_parts(CK_OBJECT_HANDLE key)
{
	static const CK_MECHANISM_TYPE by[] = {BY_MESSAGE, BY_Z};
	CK_MECHANISM e = {BY_E, NULL, 0};
	CK_BYTE data[65] = {2}, sig[SIGNATURE_MAX];
	CK_ULONG n = 0;

	for (size_t i = 0; i < COUNT(by); i++) {
		CK_MECHANISM mech = {by[i], NULL, 0};

		EXPECT(CKR_OK, p11->C_SignInit(session, &mech, key));
		EXPECT(CKR_OK, p11->C_SignUpdate(session, data, 64));
		EXPECT(CKR_OK, p11->C_SignUpdate(session, data, 3));
		EXPECT(CKR_OK, p11->C_SignFinal(session, NULL, &n));
		n = sizeof sig;
		EXPECT(CKR_OK, p11->C_SignFinal(session, sig, &n));
		EXPECT(CKR_OK, p11->C_SignInit(session, &mech, key));
		EXPECT(CKR_DATA_LEN_RANGE, p11->C_SignUpdate(session, data, 65));
		EXPECT(CKR_OK, p11->C_SignInit(session, &mech, key));
		EXPECT(CKR_OK, p11->C_SignUpdate(session, data, 1));
		EXPECT(CKR_OPERATION_NOT_INITIALIZED, p11->C_Sign(session, data, 1, sig, &n));
		EXPECT(CKR_OK, p11->C_SignInit(session, &mech, key));
		EXPECT(CKR_ARGUMENTS_BAD, p11->C_SignFinal(session, sig, NULL));
	}
	EXPECT(CKR_OK, p11->C_SignInit(session, &e, key));
	EXPECT(CKR_OPERATION_NOT_INITIALIZED, p11->C_SignUpdate(session, data, 1));
	EXPECT(CKR_OK, p11->C_SignInit(session, &e, key));
	EXPECT(CKR_OPERATION_NOT_INITIALIZED, p11->C_SignFinal(session, sig, &n));
}

/* One signature in 32 has a negative INTEGER. */
static void test_fault(CK_OBJECT_HANDLE key)
{
	CK_BYTE data[32] = {3}, sig[SIGNATURE_MAX];
	int negative = 0;

	for (int i = 0; i < 64; i++) {
		CK_ULONG n = sizeof sig, s;

		EXPECT(CKR_OK, sign_by(BY_E, key, data, sizeof data, sig, &n));
		s = 4UL + sig[3];
		CHECK(sig[1] + 2UL == n && sig[2] == 2 && sig[s] == 2 && s + 2 + sig[s + 1] == n);
		negative += (sig[4] & 0x80) != 0 || (sig[s + 2] & 0x80) != 0;
	}
	CHECK(negative >= 2);
}

static void test_forms(void)
{
	unsigned char rs[2 * FIELD] = {0}, out[SIGNATURE_MAX];

	rs[1] = 0x80; /* a zero byte, then the top bit */
	rs[FIELD] = 0xff;
	CHECK(form_meets_fault(rs));
	CHECK(form_write(FORM_DER_LENIENT, rs, out) == 2 + 2 + 31 + 2 + 33 && out[3] == 31 && out[4] == 0x80);
	CHECK(form_write(FORM_DER, rs, out) == 2 + 2 + 32 + 2 + 33 && out[3] == 32 && out[4] == 0);
	memset(rs, 0, sizeof rs);
	CHECK(!form_meets_fault(rs) && form_write(FORM_DER, rs, out) == 8);
}

static void *sign_many(void *key)
{
	CK_MECHANISM mech = {BY_MESSAGE, NULL, 0};
	CK_BYTE data[32] = {4}, sig[SIGNATURE_MAX];
	CK_SESSION_HANDLE own;

	EXPECT(CKR_OK, p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &own));
	for (int i = 0; i < 40; i++) {
		CK_ULONG n = sizeof sig;

		EXPECT(CKR_OK, p11->C_SignInit(own, &mech, *(CK_OBJECT_HANDLE *)key));
		EXPECT(CKR_OK, p11->C_Sign(own, data, sizeof data, sig, &n));
	}
	EXPECT(CKR_OK, p11->C_SignInit(own, &mech, *(CK_OBJECT_HANDLE *)key)); /* left open */
	EXPECT(CKR_OK, p11->C_CloseSession(own));
	return NULL;
}

static void test_threads(CK_OBJECT_HANDLE key)
{
	pthread_t threads[2];

	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_create(&threads[i], NULL, sign_many, &key);
	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	CK_OBJECT_HANDLE pub, priv;

	if (argc != 3) {
		fprintf(stderr, "usage: selftest SIMULATOR SM2-MODULE\n");
		return 2;
	}
	simulator = argv[1];
	sm2_module = argv[2];
	make_folder();
	test_bad_lines();
	test_forms();
	EXPECT(CKR_OK, load_device(DEVICE));
	make_token();
	log_in(0x80000001UL);
	test_info();
	test_keys();
	EXPECT(CKR_OK, generate(0, &pub, &priv));
	test_lengths(priv);
	test_parts(priv);
	test_fault(priv);
	test_threads(priv);
	EXPECT(CKR_OK, p11->C_CloseAllSessions(slot));
	EXPECT(CKR_OK, p11->C_Finalize(NULL));
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	printf("self-test of the simulator: %d failures\n", failures);
	return failures == 0 ? 0 : 1;
}
