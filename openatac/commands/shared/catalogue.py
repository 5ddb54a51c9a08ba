"""The commands of ``openatac``: the summary, examples, documentation page and parser of each."""
from __future__ import annotations

import argparse
from typing import Any, NamedTuple

SITE = 'https://openatac.github.io/openatac/'


class Command(NamedTuple):
    """A sub-command, implemented by a module of openatac.commands.

    Attributes
    ----------
    summary : str
        What the command does.
    examples : (str, str)
        Two command lines, without ``openatac`` and the command's name; the list of all commands shows the
        first.
    page : str
        The page in docs/ that explains it.
    """

    summary: str
    examples: tuple[str, str]
    page: str

    def lines(self, name: str) -> list[str]:
        """Return the examples as whole command lines."""
        return [f'openatac {name} {example}'.rstrip() for example in self.examples]


GROUPS = {  # {group: {name: Command}}
    'start': {
        'demo': Command(
            'train, compare and export three units on handwritten digits',
            ('', '--folder first'), 'install.md'),
        'doctor': Command(
            'report what is installed and how to get the rest',
            ('', '> report.txt'), 'install.md'),
    },
    'train': {
        'train-cifar': Command(
            'train on CIFAR, digits or your own images',
            ('--recipe digits --save-dir run',
             '--recipe cifar10_atac --resume auto --save-dir full'), 'how-to/reproduce.md'),
        'train-imagenet': Command(
            'train ResNet-50 on ImageNet or other photographs',
            ('--recipe imagenet_atac --rec-train train.rec --rec-val val.rec --save-dir resnet',
             '--data-dir photos --pretrained resnet/best.params --num-epochs 10 --lr 0.002 --save-dir tuned'),
            'how-to/imagenet.md'),
        'pack': Command(
            'pack a folder of photographs into a record file, or check one',
            ('imagenet/train train', '--check train.rec'), 'how-to/imagenet.md'),
        'launch': Command(
            'start a training run on several processes or machines',
            ('-n 2 -s 1 -- openatac train-imagenet --kvstore dist_sync',
             '-n 4 -s 4 --hostfile hosts -- openatac train-imagenet --kvstore dist_sync'),
            'how-to/several-machines.md'),
        'plan': Command(
            'estimate hours and cost of the published run from one speed',
            ('--gpus 8 --images-per-second 650 --bandwidth 25',
             '--gpus 64 --gpus-per-machine 8 --images-per-second 650 --bandwidth 25'),
            'how-to/several-machines.md'),
    },
    'evaluate and compare': {
        'evaluate': Command(
            'measure the accuracy of an exported network, class by class',
            ('export/atac photos/ --report report --predictions predictions.csv',
             'export/atac-int8.onnx --dataset cifar10'), 'how-to/evaluate.md'),
        'evaluate-imagenet': Command(
            'compute the validation errors of trained parameters',
            ('resnet/best.params', 'resnet/best.params --use-rec --rec-val val.rec'), 'how-to/evaluate.md'),
        'compare': Command(
            'train units at several depths and seeds, and compare them',
            ('comparison --units relu,se,atac --blocks 1 --seeds 1,2,3 --recipe cifar10_atac',
             'comparison --from run'), 'how-to/compare.md'),
        'published': Command(
            'compare the published numbers with our costs and runs',
            ('', 'run --csv published.csv'), 'how-to/reproduce.md'),
        'gates': Command(
            'measure what the gates of trained networks do',
            ('run --out gates', 'run --images 1000 --out figures/atac'), 'how-to/compare.md'),
        'costs': Command(
            'count parameters, multiply-adds and memory of networks',
            ('cifar_resnet20_v2_relu cifar_resnet20_v2_atac', '--layers resnet50_v1b_atac'),
            'how-to/compare.md'),
        'models': Command(
            'list networks by name, with trained weights and costs',
            ("'cifar_resnet20_v2_*'", 'cifar_resnet8_v2_atac --card'), 'how-to/fine-tune.md'),
    },
    'export and deploy': {
        'export': Command(
            'write a trained network as files that other programs load',
            ('run export/atac --fuse --onnx --int8',
             'cifar_resnet20_v2_atac run/best.params export/atac'), 'how-to/export.md'),
        'predict': Command(
            'classify images with an export, a run or a trained network',
            ('export/atac photo.jpg photos/ --gates gates.png',
             '--model cifar_resnet8_v2_atac photo.jpg --json'), 'how-to/predict.md'),
        'serve': Command(
            'classify images over HTTP, for programs and on a page',
            ('export/atac', '--model cifar_resnet8_v2_atac --port 9000'), 'how-to/serve.md'),
        'bench': Command(
            'measure how fast each engine runs exported networks',
            ('export/atac --batch-sizes 1,64 --out speed',
             'export/atac export/relu --engines static,fused,torch-compiled --rounds 5'),
            'how-to/export.md'),
        'completion': Command(
            'print shell code that completes commands and flags',
            ('bash >> ~/.bashrc', 'fish > ~/.config/fish/completions/openatac.fish'), 'install.md'),
    },
}
TRAINING = ('train-cifar', 'train-imagenet')
COMMANDS = {name: command for commands in GROUPS.values() for name, command in commands.items()}


def overview() -> str:
    """Return the list of all commands, in groups, each with an example."""
    lines = []
    for group, commands in GROUPS.items():
        lines += ['', f'{group}:']
        for name, command in commands.items():
            lines += [f'  {name:<17}  {command.summary}', f'{"":21}{command.lines(name)[0]}']
    return '\n'.join([*lines[1:], '', 'openatac COMMAND --help explains each.'])


def command_parser(name: str, description: str | None, **settings: Any) -> argparse.ArgumentParser:
    """Return the parser of ``openatac NAME``.

    Its help shows the description verbatim, and ends with the examples and the page of the command.
    """
    command = COMMANDS[name]
    epilog = '\n'.join(['examples:', *(f'  {line}' for line in command.lines(name)), '',
                        f'explained in {SITE}{command.page.removesuffix(".md")}/'])
    return argparse.ArgumentParser(**{
        'prog': f'openatac {name}', 'description': description, 'epilog': epilog,
        'formatter_class': argparse.RawDescriptionHelpFormatter, **settings})
