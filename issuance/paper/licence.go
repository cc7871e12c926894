package paper

import (
	"fmt"
	"strings"
	"time"

	"sealkeeper/licence"
)

// LicenceSeal says who issues the licence.
type LicenceSeal struct {
	Authority string // the registration authority whose seal the paper gets
}

// Licence writes a version of a business licence: the original (正本), the duplicate (副本), and as many sheets more as a long scope of
// business takes.
func Licence(l licence.Licence, by LicenceSeal) (Paper, error) {
	w := &licenceWriter{l: l, by: by, form: formOf(l)}
	issued := l.Approved
	if issued == "" {
		issued = l.ValidFrom.In(beijing).Format(time.DateOnly)
	}
	w.issued = issued
	var err error
	// Warnings and the time of receipt are the library's, not the licence's.
	w.d, err = newDocument("licence", "营业执照", issued, licence.IsSynthetic(l.USCC), struct {
		licence.Fields
		Version   int
		ValidFrom time.Time
		LicenceSeal
	}{l.Fields, l.Version, l.ValidFrom.UTC(), by})
	if err != nil {
		return Paper{}, err
	}
	for _, name := range []string{"正本", "副本"} {
		if err := w.page(name); err != nil {
			return Paper{}, err
		}
	}
	w.more()
	b, err := w.d.ofd()
	return Paper{b, w.places}, err
}

type licenceWriter struct {
	d      *document
	l      licence.Licence
	by     LicenceSeal
	form   form
	issued string
	places []Place
	rest   []string // of the scope, that no page had room for
}

// form is how a kind of entity names its fields.
type form struct{ person, capital, address, scope string }

// formOf goes by the code's category and what the type says of itself.
func formOf(l licence.Licence) form {
	switch {
	case strings.HasPrefix(l.USCC, "92"):
		return form{"经营者", "", "经营场所", "经营范围"}
	case strings.HasPrefix(l.USCC, "93"):
		return form{"法定代表人", "成员出资总额", "住所", "业务范围"}
	case strings.Contains(l.EntityType, "合伙"):
		return form{"执行事务合伙人", "出资额", "主要经营场所", "经营范围"}
	case strings.Contains(l.EntityType, "个人独资"):
		return form{"投资人", "出资额", "住所", "经营范围"}
	case strings.Contains(l.EntityType, "分公司"), strings.Contains(l.EntityType, "分支机构"):
		return form{"负责人", "", "经营场所", "经营范围"}
	}
	return form{"法定代表人", "注册资本", "住所", "经营范围"}
}

// Measures of the page.
const (
	leftLabel, leftValue   = 24.0, 52.0
	rightLabel, rightValue = 166.0, 194.0
	valueWidth             = 106.0 // of the left column
	rightWidth             = 80.0
	firstRow, rowHeight    = 74.0, 11.0
	bodySize               = 4.0
	codeSide               = 28.0
	sealX, sealY           = 226.0, 168.0
)

// page writes one of the two.
func (w *licenceWriter) page(name string) error {
	s := w.d.newSheet()
	w.places = append(w.places, Place{len(w.d.sheets), sealX, sealY})
	s.put(label{x: pageWidth / 2, y: 24, at: centre, font: fontSong, size: 17, bold: true, gap: 0.9, text: "营业执照"})
	s.put(label{x: pageWidth / 2, y: 48, at: centre, font: fontKai, size: 6, gap: 0.3, text: "（" + name + "）"})
	s.put(label{x: leftLabel, y: 24, font: fontHei, size: 3.6, text: "统一社会信用代码"})
	s.put(label{x: leftLabel, y: 30, font: fontSong, size: 5, bold: true, text: w.l.USCC})
	if err := s.code(pageWidth-24-codeSide, 24, codeSide, w.scan()); err != nil {
		return err
	}
	s.put(label{x: pageWidth - 24 - codeSide/2, y: 24 + codeSide + 1.5, at: centre, font: fontSong, size: 2.6, colour: grey, text: "扫描二维码核对登记信息"})
	s.rule(leftLabel, 66, pageWidth-2*leftLabel)
	w.leftColumn(s)
	w.rightColumn(s)
	w.foot(s)
	return nil
}

// scan is what the QR code says: the record itself, so that it can be read without a network.
func (w *licenceWriter) scan() string {
	return strings.Join([]string{"营业执照", "统一社会信用代码:" + w.l.USCC, "名称:" + w.l.Name, fmt.Sprintf("版本:%d", w.l.Version)}, "\n")
}

// field writes a label and its value in a box, and returns the height it took.
func (s *sheet) field(name, value string, nameX, valueX, y, width float64) float64 {
	s.put(label{x: nameX, y: y, font: fontHei, size: nameSize(name), gap: nameGap(name), text: name})
	b := box{valueX, y, width, 3 * bodySize * leading}
	lines, size, _ := b.fit(value, bodySize, 3.4, 2.8, 2.2, 1.7) // 300 characters, the longest a field can be, fit at the last
	s.fill(b, lines, fontSong, size)
	return max(rowHeight, float64(len(lines))*size*leading+rowHeight-bodySize*leading)
}

// nameSize lets the longest names of fields keep to their column.
func nameSize(name string) float64 { return min(bodySize, 27/float64(len([]rune(name)))) }

// nameGap sets names of two characters as wide as those of four.
func nameGap(name string) float64 {
	if len([]rune(name)) == 2 {
		return 2
	}
	return 0
}

func (w *licenceWriter) leftColumn(s *sheet) {
	y := firstRow
	for _, f := range [][2]string{{"名称", w.l.Name}, {"类型", w.l.EntityType}, {w.form.person, w.l.LegalRep}} {
		y += s.field(f[0], f[1], leftLabel, leftValue, y, valueWidth)
	}
	if w.l.Scope == "" {
		return
	}
	s.put(label{x: leftLabel, y: y, font: fontHei, size: bodySize, text: w.form.scope})
	b := box{leftValue, y, valueWidth, 178 - y}
	lines, size, rest := b.fit(w.l.Scope, bodySize, 3.4, 3, 2.6)
	if len(rest) > 0 {
		last := len(lines) - 1
		rest = append([]string{lines[last]}, rest...)
		lines[last] = "（后续内容见附页）"
		w.rest = rest
	}
	s.fill(b, lines, fontSong, size)
}

func (w *licenceWriter) rightColumn(s *sheet) {
	y := firstRow
	for _, f := range [][2]string{{w.form.capital, w.capital()}, {"成立日期", day(w.l.Established)}, {"营业期限", w.term()}, {w.form.address, w.l.Address}} {
		if f[0] == "" || f[1] == "" {
			continue
		}
		y += s.field(f[0], f[1], rightLabel, rightValue, y, rightWidth)
	}
}

// currencies are the names that papers use; another code stays as it is.
var currencies = map[string]string{"": "人民币", "CNY": "人民币", "USD": "美元", "EUR": "欧元", "HKD": "港元", "JPY": "日元", "GBP": "英镑"}

func (w *licenceWriter) capital() string {
	if w.l.Capital == "" {
		return ""
	}
	name, known := currencies[w.l.Currency]
	switch {
	case !known:
		return w.l.Capital + "万 " + w.l.Currency
	case name == "人民币":
		return w.l.Capital + "万元人民币"
	}
	return w.l.Capital + "万" + name
}

func (w *licenceWriter) term() string {
	if w.l.TermFrom == "" && w.l.TermTo == "" {
		return "长期"
	}
	to := "长期"
	if w.l.TermTo != "" {
		to = day(w.l.TermTo)
	}
	return day(w.l.TermFrom) + " 至 " + to
}

func (w *licenceWriter) foot(s *sheet) {
	s.put(label{x: sealX, y: 156, at: centre, font: fontHei, size: bodySize + 0.6, text: "登记机关"})
	s.put(label{x: sealX, y: 165, at: centre, font: fontSong, size: shrink(w.by.Authority, bodySize+0.6, 84), text: w.by.Authority})
	s.put(label{x: sealX, y: 175, at: centre, font: fontSong, size: bodySize + 0.6, text: day(w.issued)})
	s.rule(leftLabel, 190, pageWidth-2*leftLabel)
	s.put(label{x: leftLabel, y: 193, font: fontSong, size: 2.8, colour: grey,
		text: fmt.Sprintf("登记版本 %d，自 %s 起。登记机关的电子印章可以独立验证；登记状态以查询结果为准。", w.l.Version, inBeijing(w.l.ValidFrom))})
}

// shrink is the size, or the smaller one at which the text keeps to a width.
func shrink(text string, size, width float64) float64 {
	if _, w := spread(text, size, 0); w > width {
		return size * width / w
	}
	return size
}

// more writes the sheets that a long scope takes; they are sealed like the others.
func (w *licenceWriter) more() {
	const size = 3.2
	area := box{leftLabel, 52, pageWidth - 2*leftLabel, 96}
	lines := wrap(strings.Join(w.rest, ""), area.w/size)
	room := int(area.h / (size * leading))
	for n := 1; len(lines) > 0; n++ {
		s := w.d.newSheet()
		w.places = append(w.places, Place{len(w.d.sheets), sealX, sealY})
		s.put(label{x: pageWidth / 2, y: 24, at: centre, font: fontSong, size: 9, bold: true, text: fmt.Sprintf("营业执照附页（%d）", n)})
		heading := w.form.scope + "（续），" + w.l.USCC + "，" + w.l.Name
		s.put(label{x: leftLabel, y: 40, font: fontHei, size: shrink(heading, bodySize, pageWidth-2*leftLabel), text: heading})
		s.rule(leftLabel, 47, pageWidth-2*leftLabel)
		s.fill(area, lines[:min(room, len(lines))], fontSong, size)
		lines = lines[min(room, len(lines)):]
		w.foot(s)
	}
}
