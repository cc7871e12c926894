package certificate

import (
	"errors"
	"strings"
	"testing"
)

const food = `types:
  - type: 11100000YYY00AMR1B001
    title: 食品经营许可证（示例）
    department: 示例市市场监督管理局
    issuers: [11410300YYY00AMR13]
    clients: ["0000000000000000000000000000000000000000000000000000000000000001"]
    attributes: [许可项目]
`

func TestCatalogue(t *testing.T) {
	c, err := ParseCatalogue([]byte(food))
	if err != nil {
		t.Fatal(err)
	}
	f, ok := c.Lookup("11100000YYY00AMR1B001")
	if !ok || len(f.Watch) != 3 || f.Public || !f.Of(strings.Repeat("0", 63)+"1") || f.Of("") || f.Of("x") || len(c.Types()) != 1 {
		t.Errorf("%+v, %v", f, ok)
	}
	if _, ok := EmptyCatalogue().Lookup(f.Type); ok || len(EmptyCatalogue().Types()) != 0 {
		t.Error("an empty catalogue knows a type")
	}
}

func TestCatalogueRefused(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key":        food + "    colour: red\n",
		"key given twice":    food + "    title: 二\n",
		"type twice":         food + strings.TrimPrefix(food, "types:\n"),
		"no table":           "[]",
		"type too short":     strings.Replace(food, "1B001", "1B01", 1),
		"authority's code":   strings.Replace(food, "AMR1B001", "AMR1C001", 1),
		"no title":           strings.Replace(food, "食品经营许可证（示例）", `""`, 1),
		"title that turns":   strings.Replace(food, "食品经营许可证（示例）", "\"\\u202e食品\"", 1),
		"no issuer":          strings.Replace(food, "[11410300YYY00AMR13]", "[]", 1),
		"issuer out of form": strings.Replace(food, "[11410300YYY00AMR13]", "[a.b]", 1),
		"client by name":     strings.Replace(food, `["0000000000000000000000000000000000000000000000000000000000000001"]`, "[department]", 1),
		"watches the scope":  food + "    watch: [scope]\n",
		"attribute too long": strings.Replace(food, "[许可项目]", "["+strings.Repeat("项", 41)+"]", 1),
		"too large":          food + "#" + strings.Repeat("x", maxCatalogue),
	} {
		if _, err := ParseCatalogue([]byte(text)); !errors.Is(err, ErrCatalogue) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseCatalogue(f *testing.F) {
	f.Add([]byte(food))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCatalogue(b)
		if err != nil {
			if !errors.Is(err, ErrCatalogue) {
				t.Error(err)
			}
			return
		}
		for _, typ := range c.Types() {
			if typ.fault() != "" {
				t.Errorf("%+v: %s", typ, typ.fault())
			}
		}
	})
}
