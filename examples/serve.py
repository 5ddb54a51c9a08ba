"""Serve a trained network from a program of your own.

    python examples/serve.py export/atac

The application is an ordinary one of FastAPI: add routes, middleware or authentication to it, or mount it in
another. http://127.0.0.1:8000/ serves a web page; programs post images to /predict.
"""
import sys

import uvicorn

import openatac
from openatac.serving.app import create_app
from openatac.serving.classifier import Classifier

app = create_app(Classifier(openatac.load(sys.argv[1])))

if __name__ == '__main__':
    uvicorn.run(app)
