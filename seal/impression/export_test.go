package impression

import "image"

// Pixels shows a test what was decoded.
func (p *Picture) Pixels() *image.NRGBA { return p.pixels }
