"""One file per search space; `nas.space.load_space` reads them."""
