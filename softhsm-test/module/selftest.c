/*
 * Self-test of the module on a throw-away token of its own, meant for a build
 * under the address and undefined-behaviour sanitizers. It drives what Go's
 * binding hides: null pointers, short buffers, length queries, partly filled
 * templates, malformed blobs, threads.
 *
 *     selftest PATH-OF-MODULE
 */
#include "selftest.h"

#include <dlfcn.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

CK_FUNCTION_LIST_PTR p11;
CK_SLOT_ID slot;
CK_SESSION_HANDLE session;
atomic_int failures;
CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static char folder[64];
static unsigned char pin[] = "0123456789";

void check(int good, const char *what, int line)
{
	if (good)
		return;
	fprintf(stderr, "line %d: not so: %s\n", line, what);
	failures++;
}

void expect_code(CK_RV got, CK_RV want, const char *what, int line)
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

static void make_folder(void)
{
	char path[128];
	FILE *f;

	snprintf(folder, sizeof folder, "%s/sealkeeper-selftest-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(folder) == NULL)
		die(folder);
	snprintf(path, sizeof path, "%s/softhsm2.conf", folder);
	f = fopen(path, "w");
	if (f == NULL)
		die(path);
	fprintf(f, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", folder);
	fclose(f);
	setenv("SOFTHSM2_CONF", path, 1);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void open_module(const char *path)
{
	CK_C_GetFunctionList get;
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (library == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		exit(2);
	}
	get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
	EXPECT(CKR_ARGUMENTS_BAD, get(NULL));
	if (get(&p11) != CKR_OK)
		exit(2);
	CHECK(dlsym(library, "sk_sign") == NULL);
}

/* Opens a session and logs in, on the one initialised token. */
void start(void)
{
	/* Without this flag SoftHSM2 takes no locks at all. */
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
	EXPECT(CKR_OK, p11->C_Login(session, CKU_USER, pin, sizeof pin - 1));
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

void generate(CK_BBOOL token, CK_BBOOL extractable, CK_OBJECT_HANDLE *pub, CK_OBJECT_HANDLE *priv)
{
	CK_MECHANISM mech = {CKM_SM2_KEY_PAIR_GEN, NULL, 0};
	CK_ATTRIBUTE tpub[] = {{CKA_TOKEN, &token, sizeof token}, {CKA_VERIFY, &yes, sizeof yes}};
	CK_ATTRIBUTE tpriv[] = {
		{CKA_TOKEN, &token, sizeof token},
		{CKA_SIGN, &yes, sizeof yes},
		{CKA_EXTRACTABLE, &extractable, sizeof extractable},
		{CKA_LABEL, "key", 3},
	};

	EXPECT(CKR_OK, p11->C_GenerateKeyPair(session, &mech, tpub, COUNT(tpub), tpriv, COUNT(tpriv), pub, priv));
}

CK_OBJECT_HANDLE wrapping_key(void)
{
	CK_MECHANISM mech = {CKM_AES_KEY_GEN, NULL, 0};
	CK_ULONG len = 32;
	CK_ATTRIBUTE list[] = {
		{CKA_VALUE_LEN, &len, sizeof len},
		{CKA_WRAP, &yes, sizeof yes},
		{CKA_UNWRAP, &yes, sizeof yes},
	};
	CK_OBJECT_HANDLE kek = CK_INVALID_HANDLE;

	EXPECT(CKR_OK, p11->C_GenerateKey(session, &mech, list, COUNT(list), &kek));
	return kek;
}

CK_ULONG wrap(CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key, CK_BYTE *blob, CK_ULONG size)
{
	CK_MECHANISM mech = {CKM_AES_KEY_WRAP_PAD, NULL, 0};

	EXPECT(CKR_OK, p11->C_WrapKey(session, &mech, kek, key, blob, &size));
	return size;
}

CK_RV unwrap(CK_OBJECT_HANDLE kek, CK_BYTE *blob, CK_ULONG len, CK_OBJECT_HANDLE *key)
{
	CK_MECHANISM mech = {CKM_AES_KEY_WRAP_PAD, NULL, 0};
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_KEY_TYPE type = CKK_EC;
	CK_ATTRIBUTE list[] = {
		{CKA_CLASS, &class, sizeof class},
		{CKA_KEY_TYPE, &type, sizeof type},
		{CKA_SIGN, &yes, sizeof yes},
	};

	return p11->C_UnwrapKey(session, &mech, kek, blob, len, list, COUNT(list), key);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: selftest PATH-OF-MODULE\n");
		return 2;
	}
	make_folder();
	open_module(argv[1]);
	make_token();
	start();
	test_attributes();
	test_arguments();
	test_lengths();
	test_searches();
	test_blobs();
	test_pkcs8();
	test_threads();
	test_restart();
	EXPECT(CKR_OK, p11->C_Finalize(NULL));
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	printf("self-test of the SM2 module: %d failures\n", failures);
	return failures == 0 ? 0 : 1;
}
