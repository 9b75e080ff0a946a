"""Files of a pretended system folder."""


def write_files(root, **files):
    """Files by their path, with two underscores for a slash and DOT for a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
