package licence

import (
	"fmt"
	"slices"
)

// Division is an administrative division code of six digits (行政区划代码, GB/T 2260) with its name.
type Division struct {
	Code    string
	Name    string
	Present string // the division that took it over; empty while it exists itself
}

// luoyang holds the divisions of the city as they are and as they were: a code of 2010 keeps the division of 2010 for ever.
var luoyang = []Division{
	{"410300", "洛阳市", ""}, {"410302", "老城区", ""}, {"410303", "西工区", ""}, {"410304", "瀍河回族区", ""},
	{"410305", "涧西区", ""}, {"410307", "偃师区", ""}, {"410308", "孟津区", ""}, {"410311", "洛龙区", ""},
	{"410323", "新安县", ""}, {"410324", "栾川县", ""}, {"410325", "嵩县", ""}, {"410326", "汝阳县", ""},
	{"410327", "宜阳县", ""}, {"410328", "洛宁县", ""}, {"410329", "伊川县", ""},
	{"410371", "洛阳高新技术产业开发区", ""}, // a statistical code that registration uses
	{"410306", "吉利区", "410308"}, {"410322", "孟津县", "410308"}, {"410381", "偃师市", "410307"},
}

// provinces are the first two digits that GB/T 2260 gives out; 10 is the nation itself.
var provinces = []string{"10", "11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43",
	"44", "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71", "81", "82"}

// Divisions returns the divisions of Luoyang, present ones first.
func Divisions() []Division { return slices.Clone(luoyang) }

// LookupDivision finds a division of Luoyang, present or historic.
func LookupDivision(code string) (Division, bool) {
	i := slices.IndexFunc(luoyang, func(d Division) bool { return d.Code == code })
	if i < 0 {
		return Division{}, false
	}
	return luoyang[i], true
}

// checkDivision judges the six digits inside a credit code. Other cities are judged by their province alone.
func checkDivision(code string) (reason string) {
	if !slices.Contains(provinces, code[:2]) {
		return fmt.Sprintf("division %s is in no province", code)
	}
	if _, known := LookupDivision(code); code[:4] == "4103" && !known {
		return fmt.Sprintf("division %s never was one of Luoyang", code)
	}
	return ""
}
