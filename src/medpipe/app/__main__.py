"""`python -m medpipe.app --server.port 8501`: the app, for this machine alone unless Streamlit's options say more."""

import sys
from pathlib import Path

from streamlit.web import cli

from medpipe.app.models import MAX_MEBIBYTES

OPTIONS = {
    "server.address": "127.0.0.1",
    "server.headless": "true",
    "server.maxUploadSize": MAX_MEBIBYTES,
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
}

if __name__ == "__main__":
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    cli.main(["run", str(Path(__file__).with_name("page.py")), *options, *sys.argv[1:]])
