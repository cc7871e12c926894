package hsm

// Signatures that one firmware made, as published with the tests of ChainMaker, with the key and the message they are over. They were
// recomputed: the first mechanism computes SM3 of the message and no Z; the second puts Z of the default identity in front. The last shows
// what its DER encoder does when r has a leading zero byte: it drops the byte, and r turns negative.
const (
	publishedProfile = "sansec"
	publishedKey     = "04fb0d63136159d1ddbb5154291a1839d166ecefdadcc7d324069d971b562cf08cca80a82c0ec41e03acc2c4e60c83a4b86640850a6b7df3a705d4a1681830210b"
	publishedMessage = "hello chainmaker"
)

var published = []struct {
	name, mechanism string
	strict          bool // what the token returned is strict DER
	sig             string
}{
	{"SM3 without Z, raw", "sm3-raw", false,
		"02f59073676d87391323c58033607b1460867143bc7b2646b7b112aa3dfb54c48d47545718b18167f7c09fe283030040de7feb6b5bcfda06011757973c81a8d3"},
	{"SM3 with Z, s with a sign byte", "sm3-default-id-der", true,
		"30450220648f89660672bbca8fa8e878c09cdfdcfacaede9c58650acf6de9de127c456f7022100a8a4dbfd72872c8af78c028cb889cb6eebd0c9e8af02bc5ac8624a10e326fdbb"},
	{"SM3 with Z, another", "sm3-default-id-der", true,
		"30450220632de5c9dc0e61f392c982f0371aadbbe101e12966d9514ef62939bae490444c022100da901964bcec2d22aea59ee98c63eb285efb885dd8d6f1996350f8190ab0d0f5"},
	{"SM3 with Z, no sign byte needed", "sm3-default-id-der", true,
		"304402203b5c4be928294161d3276ff2ef8538b185a6d3a12a4679605df90c7c91444aee02202e84e0a7a6f5f7d67a45f0f8a92a853f43d0803873b022bab005d14fc8079ee2"},
	{"SM3 with Z, negative r", "sm3-default-id-der", false,
		"3044021feca4bf4fad8b925d385d40351250e208c399323a98e6397243cdbb20bc106e022100e7ed1c3d94f7b3fe065ee347cdaf6df60a23514f85f6e5b4b1ab9a129bfc2e27"},
}
