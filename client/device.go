package client

// DeviceFrozen answers the freeze of an enterprise's device.
type DeviceFrozen struct {
	USCC   string `json:"uscc"`
	Device string `json:"device"` // hexadecimal SHA-256 of the key's point
	Person string `json:"person"`
}
