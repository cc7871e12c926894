package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// labels are the names of the canonical lines for the owner.
var labels = map[string]string{
	"sealkeeper-approval-v1": "授权一次用章", "sealkeeper-delegation-v1": "事先授权（委托用章）",
	"sealkeeper-ceremony-v1": "仪式方案", "sealkeeper-ceremony-approval-v1": "批准该方案",
	"ceremony": "方案杂凑", "appliance": "系统", "title": "名称", "reason": "理由", "approvals": "批准人数", "step": "步骤", "key": "密钥", "token": "密码模块",
	"name": "姓名", "role": "角色", "person": "人员", "csr": "证书申请",
	"sealkeeper-presentation-v1": "出示一次（展示码）", "uscc": "信用代码", "attributes": "执照字段", "certificates": "证照", "seconds": "有效秒数",
	"request": "申请编号", "id": "委托编号", "seal": "印章编码", "document": "原文杂凑", "placement": "盖章位置", "purpose": "用途", "purposes": "用途",
	"client": "使用方", "kinds": "文件种类", "count": "次数", "not-before": "开始时间", "expires": "截止时间", "nonce": "随机数",
}

// note is a line for people under the canonical line of a field; it is not signed.
type note struct{ field, text string }

var errNoConsent = errors.New("not approved; nothing was signed")

// consent shows the very bytes that would be signed, line by line with Chinese labels, and asks. Everything goes to standard error, so
// that standard output holds nothing but what is signed.
func (d *device) consent(cmd *cobra.Command, message []byte, notes ...note) error {
	w := cmd.ErrOrStderr()
	showCanonical(w, message, notes)
	if d.yes {
		return nil
	}
	fmt.Fprint(w, "同意？(同意/yes，其他为不同意) ")
	line, err := answer(cmd.Context(), cmd.InOrStdin())
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "同意", "是", "yes", "y":
		return nil
	}
	return errNoConsent
}

// answer reads one line, or gives up when the user does: a read from a terminal cannot be interrupted, so it is left behind.
func answer(ctx context.Context, in io.Reader) (string, error) {
	type read struct {
		line string
		err  error
	}
	done := make(chan read, 1)
	go func() {
		line, err := bufio.NewReader(in).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		done <- read{line, err}
	}()
	select {
	case r := <-done:
		return r.line, r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

const labelWidth = 10 // columns of the longest label and two

func showCanonical(w io.Writer, message []byte, notes []note) {
	for i, line := range strings.Split(strings.TrimSuffix(string(message), "\n"), "\n") {
		if i == 0 {
			fmt.Fprintf(w, "%s (%s)\n", labels[line], line)
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		fmt.Fprintf(w, "  %s%s %-10s %s\n", labels[name], strings.Repeat(" ", labelWidth-columns(labels[name])), name, visible(value))
		for _, n := range notes {
			if n.field == name && n.text != "" {
				margin := strings.Repeat(" ", labelWidth+14)
				fmt.Fprintf(w, "%s%s\n", margin, strings.ReplaceAll(visible(n.text), "\n", "\n"+margin))
			}
		}
	}
}

// columns is the width on a terminal: Chinese characters take two.
func columns(s string) int {
	n := 0
	for _, r := range s {
		if n++; r >= 0x1100 {
			n++
		}
	}
	return n
}

// visible writes characters that steer a terminal or the direction of writing as escapes: what the owner reads is what is there.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || !unicode.IsGraphic(r)) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
