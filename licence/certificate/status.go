package certificate

import "slices"

// Status is what the department that issued a certificate says of it.
type Status string

// The statuses that a department states.
const (
	Valid     Status = "valid"     // 有效
	Suspended Status = "suspended" // 暂扣
	Revoked   Status = "revoked"   // 吊销
	Cancelled Status = "cancelled" // 注销
	Annulled  Status = "annulled"  // 撤销
)

// The states that follow from a valid certificate's own dates.
const (
	NotYetValid Status = "not_yet_valid"
	Expired     Status = "expired"
)

// follows is the table of changes: after Revoked, Cancelled and Annulled nothing comes but a certificate issued anew.
var follows = map[Status][]Status{
	Valid:     {Suspended, Revoked, Cancelled, Annulled},
	Suspended: {Valid, Revoked, Cancelled, Annulled},
}

var titles = map[Status]string{Valid: "有效", Suspended: "暂扣", Revoked: "吊销", Cancelled: "注销", Annulled: "撤销", NotYetValid: "尚未生效", Expired: "已过期"}

// Title is the status in Chinese.
func (s Status) Title() string { return titles[s] }

func (s Status) mayBecome(next Status) bool { return slices.Contains(follows[s], next) }
