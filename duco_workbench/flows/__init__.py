"""One short streamz file each = one box of the drawing. Flows know no source, sink or setting: they are given them."""
