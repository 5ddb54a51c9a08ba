"""Rules on options that go together: what each refuses, and the nearest that it accepts."""
import pytest

from openatac.errors import FlagError
from openatac.options.declaration import build_config
from openatac.training.config import CifarConfig, ImagenetConfig
from openatac.training.option_rules import check_options


@pytest.mark.parametrize('config, refused, flag, accepted', [
    (CifarConfig, {'val_seed': 1}, '--val-seed', {'val_split': 0.2}),
    (CifarConfig, {'engine': 'torch', 'initial': 'x', 'write_initial': 'y'}, '--initial',
     {'write_initial': None}),
    (CifarConfig, {'lr': 1.0, 'lr_decay': 1e-30, 'lr_decay_epoch': '1,2', 'num_epochs': 3}, '--lr-decay',
     {'num_epochs': 2}),
    (ImagenetConfig, {'lr': 1.0, 'lr_decay': 1e-30, 'lr_decay_epoch': '1,2', 'lr_mode': 'step'}, '--lr-decay',
     {'lr_mode': 'cosine'}),
    (ImagenetConfig, {'num_epochs': 3, 'warmup_epochs': 4}, '--warmup-epochs', {'warmup_epochs': 3}),
    (ImagenetConfig, {'num_epochs': 3, 'mixup_off_epoch': 4}, '--mixup-off-epoch', {'mixup_off_epoch': 3}),
    (ImagenetConfig, {'num_epochs': 3, 'resume_epoch': 3}, '--resume-epoch', {'resume_epoch': 2}),
])
def test_rule_refuses_only_what_goes_too_far(config, refused, flag, accepted):
    check_options(build_config(config, {**refused, **accepted}))
    with pytest.raises(FlagError, match=f'^argument {flag}: '):
        check_options(build_config(config, refused))
