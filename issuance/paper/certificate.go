package paper

import (
	"fmt"
	"time"

	"sealkeeper/licence"
)

// Certified are the facts of a seal that its certificates state.
type Certified struct {
	ESID      string
	Name      string // of the seal
	Type      string // in words
	Holder    string
	USCC      string
	Filing    string // public security's filing number of the impression
	Maker     string
	NotBefore time.Time
	NotAfter  time.Time
	MadeAt    time.Time
	Collected time.Time
	ESLSM3    string // digest of the seal's data, so that nobody shows the paper for another seal
	EndedAt   time.Time
	EndState  string // in words
	EndReason string // in words
	Issuer    string // whose seal the paper gets
}

// Made writes the 《电子印章制作证书》 that goes out when a seal is collected.
func Made(c Certified) (Paper, error) {
	return certificate("made", "电子印章制作证书", c, c.Collected, "兹证明下列电子印章已按照国家标准制作，由持有人领取并启用。",
		[][2]string{{"制作日期", inBeijing(c.MadeAt)}, {"领取日期", inBeijing(c.Collected)}, {"有效期", inBeijing(c.NotBefore) + " 至 " + inBeijing(c.NotAfter)}})
}

// Cancelled writes the 《电子印章注销证书》 that goes out when a seal ends.
func Cancelled(c Certified) (Paper, error) {
	return certificate("cancelled", "电子印章注销证书", c, c.EndedAt, "兹证明下列电子印章已经终止使用。终止之前依法签署的文件，其效力不受影响。",
		[][2]string{{"制作日期", inBeijing(c.MadeAt)}, {"终止日期", inBeijing(c.EndedAt)}, {"终止方式", c.EndState}, {"终止原因", c.EndReason}})
}

func certificate(kind, title string, c Certified, at time.Time, statement string, own [][2]string) (Paper, error) {
	d, err := newDocument(kind, title, at.In(beijing).Format(time.DateOnly), licence.IsSynthetic(c.USCC), c)
	if err != nil {
		return Paper{}, err
	}
	s := d.newSheet()
	s.put(label{x: pageWidth / 2, y: 26, at: centre, font: fontSong, size: 13, bold: true, text: title})
	s.put(label{x: pageWidth / 2, y: 46, at: centre, font: fontSong, size: bodySize, colour: grey, text: "编号 " + c.ESID})
	s.put(label{x: leftLabel, y: 58, font: fontSong, size: bodySize, text: statement})
	y := firstRow - 4
	for _, f := range append([][2]string{{"印章名称", c.Name}, {"印章类型", c.Type}, {"印章编码", c.ESID}, {"持有人", c.Holder}, {"统一社会信用代码", c.USCC},
		{"印模备案号", c.Filing}, {"制作单位", c.Maker}}, own...) {
		if f[1] == "" {
			continue
		}
		y += s.field(f[0], f[1], leftLabel, leftValue+8, y, 130) - 1.6
	}
	if err := s.code(pageWidth-24-codeSide, 70, codeSide, fmt.Sprintf("%s\n印章编码:%s\n印章名称:%s\n统一社会信用代码:%s\n印章数据SM3:%s", title, c.ESID, c.Name, c.USCC, c.ESLSM3)); err != nil {
		return Paper{}, err
	}
	s.put(label{x: sealX, y: 156, at: centre, font: fontHei, size: bodySize + 0.6, text: "发证单位"})
	s.put(label{x: sealX, y: 165, at: centre, font: fontSong, size: shrink(c.Issuer, bodySize+0.6, 84), text: c.Issuer})
	s.put(label{x: sealX, y: 175, at: centre, font: fontSong, size: bodySize + 0.6, text: inBeijing(at)})
	s.rule(leftLabel, 190, pageWidth-2*leftLabel)
	s.put(label{x: leftLabel, y: 193, font: fontSong, size: 2.6, colour: grey, text: "印章数据 SM3 " + c.ESLSM3})
	b, err := d.ofd()
	return Paper{b, []Place{{1, sealX, sealY}}}, err
}
