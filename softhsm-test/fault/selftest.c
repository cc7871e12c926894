/*
 * Self-test of the fault module in front of SoftHSM2, on a throw-away token of
 * its own, meant for a build under the sanitizers.
 *
 *     faulttest PATH-OF-MODULE
 */
#include "fault.h"

#include <dlfcn.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CHECK(cond) check((cond), #cond, __LINE__)
#define EXPECT(want, call) expect_code((call), (want), #call, __LINE__)

static CK_FUNCTION_LIST_PTR p11;
static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE key, pub;
static atomic_int failures;
static char folder[64], script[128], conf[128];
static unsigned char pin[] = "0123456789";

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

/* LeakSanitizer reads this: what SoftHSM2 leaks is not ours to mend. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libsofthsm2\n";
}

static void write_file(const char *path, const char *text)
{
	char next[160];
	FILE *f;

	snprintf(next, sizeof(next), "%s.next", path);
	f = fopen(next, "w");
	if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0 || rename(next, path) != 0) {
		perror(path);
		exit(2);
	}
}

static void say(const char *text)
{
	write_file(script, text);
}

static int logged(const char *word)
{
	char path[160], line[256];
	int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s.log", script);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		n += strncmp(line, word, strlen(word)) == 0;
	if (f != NULL)
		fclose(f);
	return n;
}

static void prepare(void)
{
	char text[256];
	const char *library = getenv("SOFTHSM2_LIB");

	snprintf(folder, sizeof(folder), "%s/sealkeeper-faulttest-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(folder) == NULL) {
		perror(folder);
		exit(2);
	}
	snprintf(script, sizeof(script), "%s/script", folder);
	snprintf(conf, sizeof(conf), "%s/softhsm2.conf", folder);
	snprintf(text, sizeof(text), "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", folder);
	write_file(conf, text);
	setenv("SOFTHSM2_CONF", conf, 1);
	setenv("SEALKEEPER_FAULT_CONTROL", script, 1);
	setenv("SEALKEEPER_FAULT_MODULE", library != NULL && *library ? library : "/usr/lib/softhsm/libsofthsm2.so", 1);
}

static void open_module(const char *path)
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
	CHECK(dlsym(library, "script_strike") == NULL);
}

static void make_token(void)
{
	unsigned char label[32];
	CK_ULONG count = 1;

	memset(label, ' ', sizeof(label));
	memcpy(label, "faulttest", 9);
	EXPECT(CKR_OK, p11->C_Initialize(NULL));
	EXPECT(CKR_OK, p11->C_GetSlotList(CK_TRUE, &slot, &count));
	EXPECT(CKR_OK, p11->C_InitToken(slot, pin, sizeof(pin) - 1, label));
	EXPECT(CKR_OK, p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
	EXPECT(CKR_OK, p11->C_Login(session, CKU_SO, pin, sizeof(pin) - 1));
	EXPECT(CKR_OK, p11->C_InitPIN(session, pin, sizeof(pin) - 1));
	EXPECT(CKR_OK, p11->C_Finalize(NULL));
}

static CK_SLOT_ID find_token(void)
{
	CK_SLOT_ID list[8], found = (CK_SLOT_ID)-1;
	CK_ULONG count = COUNT(list);
	CK_TOKEN_INFO info;

	EXPECT(CKR_OK, p11->C_GetSlotList(CK_TRUE, list, &count));
	for (CK_ULONG i = 0; i < count; i++)
		if (p11->C_GetTokenInfo(list[i], &info) == CKR_OK && (info.flags & CKF_TOKEN_INITIALIZED))
			found = list[i];
	return found;
}

static void open_session(void)
{
	EXPECT(CKR_OK, p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
}

/* Opens everything anew, with a key pair of the session. */
static void start(void)
{
	CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
	CK_BYTE curve[] = { 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07 };
	CK_ATTRIBUTE tpub[] = { { CKA_EC_PARAMS, curve, sizeof(curve) } };
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE tpriv[] = { { CKA_SIGN, &yes, sizeof(yes) } };
	CK_MECHANISM mech = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };

	p11->C_Finalize(NULL);
	EXPECT(CKR_OK, p11->C_Initialize(&args));
	slot = find_token();
	open_session();
	EXPECT(CKR_OK, p11->C_Login(session, CKU_USER, pin, sizeof(pin) - 1));
	EXPECT(CKR_OK, p11->C_GenerateKeyPair(session, &mech, tpub, 1, tpriv, 1, &pub, &key));
}

static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE *sig)
{
	CK_MECHANISM mech = { CKM_ECDSA, NULL, 0 };
	CK_BYTE digest[32] = { 1 };
	CK_ULONG len = 0;
	CK_RV rv = p11->C_SignInit(s, &mech, key);

	if (rv == CKR_OK)
		rv = p11->C_Sign(s, digest, sizeof(digest), NULL, &len); /* a length query is no signature */
	if (rv == CKR_OK)
		rv = p11->C_Sign(s, digest, sizeof(digest), sig, &len);
	return rv;
}

static CK_RV verify(CK_BYTE *sig)
{
	CK_MECHANISM mech = { CKM_ECDSA, NULL, 0 };
	CK_BYTE digest[32] = { 1 };

	EXPECT(CKR_OK, p11->C_VerifyInit(session, &mech, pub));
	return p11->C_Verify(session, digest, sizeof(digest), sig, 64);
}

static void test_answers(void)
{
	CK_BYTE sig[64];

	say("# nothing\n\nC_Sign skip=1 times=1 return=0x30 # device error\n");
	start();
	EXPECT(CKR_OK, sign(session, sig));
	EXPECT(CKR_OK, verify(sig));
	EXPECT(CKR_DEVICE_ERROR, sign(session, sig));
	CHECK(logged("strike C_Sign") == 1);
	start();
	EXPECT(CKR_OK, sign(session, sig));
	say("C_Sign,C_SignFinal times=1 corrupt\nC_Sign delay=1\n");
	EXPECT(CKR_OK, sign(session, sig));
	EXPECT(CKR_SIGNATURE_INVALID, verify(sig));
	EXPECT(CKR_OK, sign(session, sig));
	EXPECT(CKR_OK, verify(sig));
	say("C_GenerateRandom after=0x32\n");
	memset(sig, 0, sizeof(sig));
	EXPECT(CKR_DEVICE_REMOVED, p11->C_GenerateRandom(session, sig, sizeof(sig)));
	CHECK(memcmp(sig, (CK_BYTE[64]){ 0 }, sizeof(sig)) != 0);
	CHECK(logged("login 0x00000000") == 3);
}

static void test_sessions(void)
{
	CK_BYTE sig[64];

	start();
	say("C_SignInit times=1 close-session\n");
	EXPECT(CKR_SESSION_HANDLE_INVALID, sign(session, sig));
	start();
	say("C_SignInit times=1 logout\n");
	CHECK(sign(session, sig) != CKR_OK);
	start();
	say("C_SignInit times=1 close-all\n");
	EXPECT(CKR_SESSION_HANDLE_INVALID, sign(session, sig));
	say("");
}

static void test_removal(void)
{
	char text[64];
	CK_TOKEN_INFO info;
	CK_SESSION_INFO state;
	CK_SESSION_HANDLE other;
	CK_BYTE sig[64];
	CK_ULONG count = 0;

	start();
	EXPECT(CKR_OK, p11->C_GetTokenInfo(slot, &info));
	snprintf(text, sizeof(text), "* on=%.16s absent\n", (const char *)info.serialNumber);
	say(text);
	EXPECT(CKR_TOKEN_NOT_PRESENT, p11->C_GetTokenInfo(slot, &info));
	EXPECT(CKR_TOKEN_NOT_PRESENT, p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &other));
	CHECK(find_token() == (CK_SLOT_ID)-1);
	EXPECT(CKR_OK, p11->C_GetSlotList(CK_TRUE, NULL, &count));
	CHECK(count == 1); /* SoftHSM2's uninitialised slot */
	say("* absent\n");
	EXPECT(CKR_DEVICE_REMOVED, p11->C_GetSessionInfo(session, &state));
	say("* on=somebody-else absent\n");
	EXPECT(CKR_SESSION_HANDLE_INVALID, sign(session, sig)); /* it went with the token */
	CHECK(find_token() == slot);
	start();
	say("* serial=0123\nC_GetTokenInfo flags=0x40000\n");
	EXPECT(CKR_OK, p11->C_GetTokenInfo(slot, &info));
	CHECK(memcmp(info.serialNumber, "0123            ", 16) == 0);
	EXPECT(CKR_SESSION_HANDLE_INVALID, sign(session, sig));
	say("C_GetTokenInfo flags=0x40000\n");
	EXPECT(CKR_OK, p11->C_GetTokenInfo(slot, &info));
	CHECK((info.flags & CKF_USER_PIN_LOCKED) != 0);
	EXPECT(CKR_ARGUMENTS_BAD, p11->C_GetSlotList(CK_TRUE, NULL, NULL));
	say("");
}

static void *sign_once(void *rv)
{
	CK_BYTE sig[64];
	CK_SESSION_HANDLE s;

	EXPECT(CKR_OK, p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &s));
	*(CK_RV *)rv = sign(s, sig);
	return NULL;
}

static void wait_for(const char *line, int times)
{
	struct timespec t = { 0, 1000000 };

	while (logged(line) < times)
		nanosleep(&t, NULL);
}

static void test_hang(void)
{
	pthread_t threads[8];
	CK_RV rvs[COUNT(threads)];
	CK_BYTE sig[64];
	int before = logged("strike C_SignInit");

	start();
	say("C_SignInit times=8 hang\n");
	for (size_t i = 0; i < COUNT(threads); i++)
		CHECK(pthread_create(&threads[i], NULL, sign_once, &rvs[i]) == 0);
	wait_for("strike C_SignInit", before + (int)COUNT(threads));
	EXPECT(CKR_OK, sign(session, sig)); /* the ninth goes on */
	say("");
	for (size_t i = 0; i < COUNT(threads); i++) {
		pthread_join(threads[i], NULL);
		EXPECT(CKR_OK, rvs[i]);
	}
}

static void test_crash(void)
{
	int status = 0;
	pid_t child;

	say("C_Sign crash\n");
	child = fork();
	if (child == 0) {
		CK_BYTE sig[64];

		signal(SIGSEGV, SIG_DFL);
		start();
		sign(session, sig);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	say("");
}

static void test_bad_scripts(void)
{
	static const char *const bad[] = {
		"C_Sign", "C_Sign return", "C_Sign return=", "C_Sign return=x", "C_Sign return=-1", "C_Sign corrupt hang",
		"Sign hang", "C_Login corrupt", "C_Sign hang=3", "* serial=12345678901234567", "C_Sign on= hang",
		"C_Sign unheard-of", "C_Sign times=99999999999999999999 hang", ",, hang",
		"C_A,C_B,C_C,C_D,C_E,C_F,C_G,C_H,C_I hang",
		"C_NameThatIsMuchTooLongForAnyCallOfPKCS11 hang",
	};
	CK_TOKEN_INFO info;

	start();
	for (size_t i = 0; i < COUNT(bad); i++) {
		say(bad[i]);
		if (p11->C_GetTokenInfo(slot, &info) != CKR_GENERAL_ERROR) {
			fprintf(stderr, "accepted: %s\n", bad[i]);
			failures++;
		}
	}
	say("");
	EXPECT(CKR_OK, p11->C_GetTokenInfo(slot, &info));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: faulttest PATH-OF-MODULE\n");
		return 2;
	}
	prepare();
	open_module(argv[1]);
	make_token();
	test_answers();
	test_sessions();
	test_removal();
	test_hang();
	test_crash();
	test_bad_scripts();
	EXPECT(CKR_OK, p11->C_Finalize(NULL));
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	printf("self-test of the fault module: %d failures\n", failures);
	return failures == 0 ? 0 : 1;
}
