import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.FileReader;
import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.Collection;
import java.util.Date;
import java.util.zip.ZipFile;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMKeyConverter;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.tsp.TimeStampResponse;
import org.bouncycastle.tsp.TimeStampToken;
import org.ofdrw.gm.ses.v4.SESeal;
import org.ofdrw.gm.sm2strut.GBT35275Validate;
import org.ofdrw.gm.sm2strut.VerifyInfo;
import org.ofdrw.reader.OFDReader;
import org.ofdrw.sign.NumberFormatAtomicSignID;
import org.ofdrw.sign.OFDSigner;
import org.ofdrw.sign.SignMode;
import org.ofdrw.sign.signContainer.GBT35275DSContainer;
import org.ofdrw.sign.signContainer.GBT35275PKCS9DSContainer;
import org.ofdrw.sign.signContainer.SESV4Container;
import org.ofdrw.sign.stamppos.NormalStampPos;
import org.ofdrw.sign.stamppos.RidingStampPos;
import org.ofdrw.sign.stamppos.Side;
import org.ofdrw.sign.verify.OFDValidator;
import org.ofdrw.sign.verify.container.GBT35275ValidateContainer;
import org.ofdrw.sign.verify.container.SESV4ValidateContainer;
import org.ofdrw.sign.SignMode;

/**
 * Judges with ofdrw and Bouncy Castle what Sealkeeper made, and makes with them what Sealkeeper judges.
 * One line of output per act: "ok|no <act> <file> [reason]".
 */
public final class Interop {
    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        switch (args[0]) {
            case "judge-ses": for (String f : rest(args, 1)) judgeOFD(f, false); break;
            case "judge-sign": for (String f : rest(args, 1)) judgeOFD(f, true); break;
            case "judge-entries": judgeEntries(args[1]); break;
            case "judge-cms": judgeCMS(args[1], args[2]); break;
            case "judge-token": judgeToken(args[1], args[2]); break;
            case "make": make(Paths.get(args[1]), args[2]); break;
            case "measure": measure(Paths.get(args[1]), args[2], Integer.parseInt(args[3])); break;
            default: throw new IllegalArgumentException(args[0]);
        }
    }

    private static String[] rest(String[] a, int from) { return java.util.Arrays.copyOfRange(a, from, a.length); }

    private interface Act { void run() throws Exception; }

    private static void report(String act, String file, Act a) {
        try {
            a.run();
            System.out.println("ok " + act + " " + file);
        } catch (Exception e) {
            System.out.println("no " + act + " " + file + " " + e);
        }
    }

    /** All signatures of a package, by ofdrw: references, copies of the seal, digests and values. */
    private static void judgeOFD(String file, boolean sign) {
        report(sign ? "judge-sign" : "judge-ses", file, () -> {
            try (OFDReader r = new OFDReader(Paths.get(file)); OFDValidator v = new OFDValidator(r)) {
                v.setValidator(sign ? new GBT35275ValidateContainer() : new SESV4ValidateContainer());
                v.exeValidate();
            }
        });
    }

    /** The integrity list of a package and its value, by ofdrw, which leaves the names in the list unread. */
    private static void judgeEntries(String file) {
        report("judge-entries", file, () -> {
            try (ZipFile z = new ZipFile(file)) {
                byte[] list = z.getInputStream(z.getEntry("OFDEntries.xml")).readAllBytes();
                byte[] value = z.getInputStream(z.getEntry("signedvalue.dat")).readAllBytes();
                VerifyInfo v = GBT35275Validate.validate("SM3withSm2", list, value);
                if (!v.result) throw new Exception(v.hit);
            }
        });
    }

    /** A detached SignedData over a content, by Bouncy Castle. */
    private static void judgeCMS(String file, String content) {
        report("judge-cms", file, () -> {
            CMSSignedData d = new CMSSignedData(new CMSProcessableByteArray(bytes(content)), bytes(file));
            for (SignerInformation s : d.getSignerInfos().getSigners()) {
                @SuppressWarnings("unchecked")
                Collection<X509CertificateHolder> found = d.getCertificates().getMatches(s.getSID());
                X509CertificateHolder c = found.iterator().next();
                if (!s.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(c))) throw new Exception("signature is wrong");
            }
        });
    }

    /** A time-stamp token, by Bouncy Castle, under the certificate it should be signed with. */
    private static void judgeToken(String file, String certificate) {
        report("judge-token", file, () -> {
            TimeStampToken t = new TimeStampToken(new CMSSignedData(bytes(file)));
            X509CertificateHolder c = new X509CertificateHolder(bytes(certificate));
            t.validate(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(c));
        });
    }

    /** Signs a document by ofdrw in every mode, and a content by Bouncy Castle. */
    private static void make(Path dir, String document) throws Exception {
        PrivateKey key = key(dir.resolve("signer.key"));
        Certificate cert = certificate(dir.resolve("signer.der"));
        SESeal seal = SESeal.getInstance(Files.readAllBytes(dir.resolve("seal.esl")));
        made(dir, document, "ofdrw-whole.ofd", s -> s.setSignMode(SignMode.WholeProtected).setSignContainer(new SESV4Container(key, seal, cert))
            .addApPos(new NormalStampPos(1, 50, 50, 40, 40)));
        made(dir, document, "ofdrw-continued.ofd", s -> s.setSignMode(SignMode.ContinueSign).setSignContainer(new SESV4Container(key, seal, cert))
            .addApPos(new NormalStampPos(1, 50, 50, 40, 40)));
        made(dir, document, "ofdrw-riding.ofd", s -> s.setSignMode(SignMode.ContinueSign).setSignContainer(new SESV4Container(key, seal, cert))
            .addApPos(new RidingStampPos(Side.Right, 40d, 40d)));
        made(dir, document, "ofdrw-digest.ofd", s -> s.setSignMode(SignMode.ContinueSign).setSignContainer(new GBT35275DSContainer(cert, key)));
        made(dir, document, "ofdrw-attributes.ofd", s -> s.setSignMode(SignMode.ContinueSign).setSignContainer(new GBT35275PKCS9DSContainer(cert, key)));
        report("make", "bc.p7s", () -> {
            CMSSignedDataGenerator g = new CMSSignedDataGenerator();
            g.addSignerInfoGenerator(new JcaSignerInfoGeneratorBuilder(new JcaDigestCalculatorProviderBuilder().setProvider("BC").build())
                .build(new JcaContentSignerBuilder("SM3withSM2").setProvider("BC").build(key), (java.security.cert.X509Certificate) cert));
            g.addCertificates(new JcaCertStore(java.util.Collections.singletonList(cert)));
            Files.write(dir.resolve("bc.p7s"), g.generate(new CMSProcessableByteArray(bytes(document)), false).getEncoded("DER"));
        });
    }

    private interface Setting { void on(OFDSigner s) throws Exception; }

    private static void made(Path dir, String document, String name, Setting setting) {
        report("make", name, () -> {
            try (OFDReader r = new OFDReader(Paths.get(document)); OFDSigner s = new OFDSigner(r, dir.resolve(name), new NumberFormatAtomicSignID())) {
                setting.on(s);
                s.exeSign();
            }
        });
    }

    /** Processor time of one seal on one document, after as many to warm up. */
    private static void measure(Path dir, String document, int rounds) throws Exception {
        PrivateKey key = key(dir.resolve("signer.key"));
        Certificate cert = certificate(dir.resolve("signer.der"));
        SESeal seal = SESeal.getInstance(Files.readAllBytes(dir.resolve("seal.esl")));
        byte[] in = bytes(document);
        com.sun.management.OperatingSystemMXBean os = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long before = 0;
        for (int i = 0; i < 2 * rounds; i++) {
            if (i == rounds) before = os.getProcessCpuTime();
            try (OFDReader r = new OFDReader(new ByteArrayInputStream(in)); OFDSigner s = new OFDSigner(r, new ByteArrayOutputStream(), new NumberFormatAtomicSignID())) {
                s.setSignMode(SignMode.ContinueSign).setSignContainer(new SESV4Container(key, seal, cert)).addApPos(new NormalStampPos(1, 50, 50, 40, 40));
                s.exeSign();
            }
        }
        System.out.println("ok measure " + (os.getProcessCpuTime() - before) / 1000 / rounds);
    }

    private static byte[] bytes(String file) throws Exception { return Files.readAllBytes(Paths.get(file)); }

    private static Certificate certificate(Path file) throws Exception {
        try (InputStream in = Files.newInputStream(file)) {
            return CertificateFactory.getInstance("X.509", "BC").generateCertificate(in);
        }
    }

    private static PrivateKey key(Path file) throws Exception {
        try (PEMParser p = new PEMParser(new FileReader(file.toFile()))) {
            return new JcaPEMKeyConverter().setProvider("BC").getPrivateKey((PrivateKeyInfo) p.readObject());
        }
    }
}
